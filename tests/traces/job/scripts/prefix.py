"""Stands for somebody's launcher: every process runs `python -m traces.record OPTIONS -- SCRIPT ARGUMENTS`."""

import os
import sys

from traces.errors import run_command
from traces.job.worker import filled_in
from traces.record import app


def main(arguments):
    sys.argv = ["traces.record", *filled_in(arguments["words"])]
    try:
        run_command(app)
    except SystemExit as end:
        if end.code:
            raise
    return os.environ["DGL_ROLE"]


main.serves = True
