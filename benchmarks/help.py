"""How long commands take to print their help: `python -m benchmarks.help`.

Prints the least processor time of five, and what `python -c pass` takes of it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from replay.scripts import COMMANDS

REPEATS = 5


def processor_s(*command: str | Path) -> float:
    """The least processor time that a command takes, in seconds."""
    found = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    print(f"Python alone: {processor_s(sys.executable, '-c', 'pass'):.2f} s")
    for script in COMMANDS:
        print(f"{script}: {processor_s(Path(sys.executable).with_name(script), '--help'):.2f} s")


if __name__ == "__main__":
    main()
