"""Checks of options by commands that train on DistDGL, before any heavy import."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from traces.errors import InputError


def parse_fanout(text: str) -> tuple[int, ...]:
    """`10,25` as numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--fanout {text!r}: write numbers with commas between them, such as 10,25") from None


def require_distdgl() -> None:
    """Raise `InputError` if torch or dgl is missing, instead of a late import error."""
    for package in ("torch", "dgl", "packaging"):
        if find_spec(package) is None:
            here = f"{sys.version_info.major}.{sys.version_info.minor}"
            why = "" if sys.version_info < (3, 12) else f", but dgl has no wheel for Python {here}: use 3.10 or 3.11"
            raise InputError(f"{package} is not installed; `pip install 'rudder-twin[live]'` brings it{why}")
