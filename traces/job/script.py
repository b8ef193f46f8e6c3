"""Running a user's script as Python does, with hooks in place."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import Annotated

import typer

from traces.errors import InputError

LocalRank = Annotated[
    str | None, typer.Option("--local-rank", "--local_rank", hidden=True, help="What torch's launcher tells SCRIPT.")
]
"""An option of commands that stand before a script: `torch.distributed.launch` puts it before all others."""


def with_launchers_words(script: list[str]) -> list[str]:
    """A script and its arguments, with what torch's launcher has put before the words of the command in front of it."""
    ours = sys.argv[: sys.argv.index("--")] if "--" in sys.argv else []
    found = [word for word in ours if word.startswith(("--local-rank=", "--local_rank="))]
    return [script[0], *found, *script[1:]]


def is_server() -> bool:
    """Whether this process is one of DGL's servers: it runs the same script, and trains nothing."""
    return os.environ.get("DGL_ROLE") == "server"


def run_script(script: Path, arguments: list[str]) -> None:
    """Run `script` as `__main__` with `arguments`. What it raises goes on, `SystemExit` included.

    The module in `sys.modules` is the script's, as DGL's samplers start as new processes that import it again, and
    servers look there for functions that trainers send them by name. Raises `InputError` for a file that isn't there.
    """
    if not script.is_file():
        raise InputError(f"{script}: there is no such script; write the command behind --: -- train.py ARGUMENTS")
    module = types.ModuleType("__main__")
    module.__file__, module.__builtins__ = str(script), __builtins__  # type: ignore[attr-defined]
    before = sys.modules["__main__"], sys.argv, sys.path[0]
    sys.modules["__main__"], sys.argv, sys.path[0] = module, [str(script), *arguments], str(script.resolve().parent)
    try:
        exec(compile(script.read_bytes(), str(script), "exec"), vars(module))
    finally:
        sys.modules["__main__"], sys.argv, sys.path[0] = before
