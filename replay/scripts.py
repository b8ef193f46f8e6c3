"""Commands by short names, `rudder-run` for `python -m sim.run`, so that shells can complete their options.

`source <(rudder-completion bash)` in a shell's start-up file does it for all of them (also: zsh, fish).
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from traces.errors import InputError, run_command

COMMANDS = {
    "rudder-graphs": "traces.graphs.__main__",
    "rudder-capture": "traces.capture.__main__",
    "rudder-record": "traces.record",
    "rudder-info": "traces.info",
    "rudder-sample": "traces.sample",
    "rudder-synthetic": "traces.synthetic",
    "rudder-run": "sim.run",
    "rudder-sweep": "sim.sweeps.command",
    "rudder-tune": "sim.tune",
    "rudder-judge": "sim.judge",
    "rudder-benchmark": "sim.benchmark",
    "rudder-report": "sim.report",
    "rudder-train": "agents.train",
    "rudder-check": "agents.check",
    "rudder-check-cache": "sim.caches.check",
    "rudder-live": "replay.live",
    "rudder-compare": "replay.compare",
    "rudder-validate": "replay.validate",
}
"""The module of each script, as in `[project.scripts]` of pyproject.toml."""

SHELLS = ("bash", "zsh", "fish")


def run() -> None:
    """Run the module of the script that was called, or answer the shell's request for completions."""
    from typer.completion import completion_init

    completion_init()
    run_command(import_module(COMMANDS[Path(sys.argv[0]).name]).app)


def completion() -> None:
    """`rudder-completion SHELL`."""
    run_command(lambda: typer.run(_completion))


def _completion(shell: Annotated[str, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print what makes a shell complete all commands: source <(rudder-completion bash)"""
    from typer.completion import get_completion_script

    if shell not in SHELLS:
        raise InputError(f"{shell!r}: choose one of {', '.join(SHELLS)}")
    for name in COMMANDS:
        variable = f"_{name}_COMPLETE".replace("-", "_").upper()
        print(get_completion_script(prog_name=name, complete_var=variable, shell=shell))
