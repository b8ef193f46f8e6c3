"""Stands for somebody's launcher that knows nothing of this project: runs SCRIPT ARGUMENTS in every process."""

from pathlib import Path

from traces.job.script import run_script
from traces.job.worker import filled_in


def main(arguments):
    script, *words = filled_in(arguments["words"])
    run_script(Path(script), words)


main.serves = True
