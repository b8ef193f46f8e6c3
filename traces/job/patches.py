"""Putting a function of one's own in the place of a library's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

Make = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the new function of the old one, which it may call."""


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
