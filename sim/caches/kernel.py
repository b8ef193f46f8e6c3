"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

_STAMP = tuple(
    (path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(Path(__file__).parent.glob("*.py"))
)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile once and cache on disk, without the interpreter's lock, and without numba's memory manager: such a
    function cannot allocate, and does not count references, which would cost more than the work on a row itself.

    What is cached holds as long as no file of this folder changes. Numba itself looks at the function's own file only,
    though the code of kernels of other files is built into it.
    """
    compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True)(function)
    compiled._cache._cache_file._source_stamp = _STAMP
    return compiled
