"""What all commands share: `--json` and `--quiet`, consoles, progress bars, and the record of the command line."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

PIPE_COLUMNS = 200
"""Columns in a pipe: wide enough to keep a table's row on one line, for `grep` and `less -S`."""


def console(quiet: bool = False) -> Console:
    """The console for tables and sentences: stdout, or nothing if `quiet`."""
    from rich.console import Console

    screen = Console(quiet=quiet, highlight=False)
    return screen if screen.is_terminal else Console(quiet=quiet, highlight=False, width=PIPE_COLUMNS)


def progress(*columns: str | ProgressColumn, quiet: bool = False) -> Progress:
    """A progress bar on stderr that disappears at the end; none if stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    screen = Console(stderr=True)
    return Progress(*columns, console=screen, transient=True, disable=quiet or not screen.is_terminal)


ADDRESSES = ("--model-host", "--ollama-host")
"""Options whose values may hold a password."""


def command_line(module: str) -> str:
    """The command line, to be stored with results; passwords in addresses are removed."""
    words, option = [], ""
    for word in sys.argv[1:]:
        name, equals, value = word.partition("=")
        if option in ADDRESSES:
            word = _without_user(word)
        elif name in ADDRESSES and equals:
            word = f"{name}={_without_user(value)}"
        words.append(word)
        option = word
    return shlex.join(["python", "-m", module, *words])


def _without_user(addresses: str) -> str:
    return re.sub(r"(^|//|,)[^/,]*@", r"\1***@", addresses)


def print_json(document: Any) -> None:
    """One JSON document on stdout; what JSON has no number for (NaN, infinity) becomes null."""
    import json

    print(json.dumps(_plain(document), indent=2))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy's
        value = value.tolist()
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
