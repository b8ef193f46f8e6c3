"""Replacing functions of a library."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Takes the old function and returns the new one, which may call it."""


def patch(owner: Any, name: str, make: Make) -> None:
    """Replace attribute `name` of a class or module."""
    original = getattr(owner, name)
    setattr(owner, name, functools.wraps(original)(make(original)))


def patch_everywhere(package: str, original: Callable[..., Any], make: Make) -> None:
    """Replace a function in every module of a package that has imported it, under whatever name."""
    replaced = functools.wraps(original)(make(original))
    for module_name, module in list(sys.modules.items()):
        if module_name == package or module_name.startswith(f"{package}."):
            for name, value in list(vars(module).items()):
                if value is original:
                    setattr(module, name, replaced)
