"""Detects a foreign package named `agents`, such as openai-agents, in the place of this project's."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

OWN = "policy_driver.py"
"""A file that only this project's package has."""


class OtherAgents(ImportError):
    """`import agents` gives a foreign package."""


def refuse_other_agents() -> None:
    """Raise `OtherAgents` where `import agents` doesn't give this project's package.

    A command that this ends says so in one line, with exit code 2.
    """
    found = find_spec("agents")
    places = [Path(place) for place in (found.submodule_search_locations if found else None) or ()]
    if not found or any((place / OWN).is_file() for place in places):
        return
    where = found.origin or ", ".join(map(str, places))
    usual = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if kind is OtherAgents:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2)
        usual(kind, error, traceback)

    sys.excepthook = show
    raise OtherAgents(
        f"Python's package `agents` is {where}, which is not Rudder Twin's: remove it (openai-agents?), or run in "
        "an environment and a folder without it"
    )
