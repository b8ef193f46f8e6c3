"""Stands for somebody's launcher: every process runs `python -m MODULE OPTIONS -- SCRIPT ARGUMENTS`."""

import importlib
import os
import sys

from traces.errors import run_command
from traces.job.worker import filled_in


def main(arguments):
    sys.argv = filled_in(arguments["words"])
    try:
        run_command(importlib.import_module(sys.argv[0]).app)
    except SystemExit as end:
        if end.code:
            raise
    return os.environ["DGL_ROLE"]


main.serves = True
