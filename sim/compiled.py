"""Compiling kernels, and keeping them on disk. Undocumented attributes of numba are used in this module only.

With `NUMBA_DISABLE_JIT=1` kernels are plain Python: slow, but with breakpoints and coverage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numba
from numba import njit

COMPILES = not numba.config.DISABLE_JIT
"""Whether kernels are compiled rather than plain Python."""

OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
"""Kernels run without the interpreter's lock, and without numba's memory manager: such a function cannot allocate, and
does not count references, which would cost more than the work on a row itself."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function once, and keep the machine code on disk.

    The kept code is valid until a file of the function's folder changes. (Numba itself checks only the function's own
    file, although kernels of other files are inlined into it.)
    """
    return _compiled(function)


def part(function: Callable[..., Any]) -> Any:
    """As `kernel`, for a function that only kernels call. It is inlined, since passing a state's many arrays takes
    longer than most of the work on them. It has no wrapper for Python, which would double its time of compilation."""
    return _compiled(function, no_cpython_wrapper=True, forceinline=True)


def machine_code(function: Any) -> Any:
    """A kernel's machine code for the argument types that it has been called with; the kernel itself if there were
    several.

    A call of the kernel looks up the types of all its arguments first, which takes 8 us for an engine's state. A call
    of the machine code takes less than 1 us, and crashes with arguments of other types.
    """
    if not COMPILES:
        return function
    compiled = list(_of_numba(function, "overloads").values())
    return _of_numba(compiled[0], "entry_point") if len(compiled) == 1 else function


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    if not COMPILES:
        return function
    try:
        compiled = njit(cache=True, **OPTIONS, **options)(function)
    except KeyError as error:
        raise _other_numba(error.args[0]) from None
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        _say_that_nothing_is_kept()
        return njit(**OPTIONS, **options)(function)
    _keep(compiled, Path(function.__code__.co_filename).parent)
    return compiled


def _keep(compiled: Any, sources: Path) -> None:
    """Make numba keep a kernel until a file in the folder of its sources changes, with one process writing at a
    time."""
    kept = _of_numba(compiled, "_cache")
    files, folder = _of_numba(kept, "_cache_file"), Path(_of_numba(kept, "cache_path"))
    _of_numba(files, "_source_stamp")
    files._source_stamp = _stamp(sources)
    files._load_index = _or_nothing(_of_numba(files, "_load_index"))
    files.load, files.save = (_one_at_a_time(_of_numba(files, name), folder) for name in ("load", "save"))


def _of_numba(thing: Any, name: str) -> Any:
    """An undocumented attribute of an object of numba's. Raises `ImportError` if this version of numba lacks it."""
    try:
        return getattr(thing, name)
    except AttributeError:
        raise _other_numba(f"{type(thing).__name__}.{name}") from None


def _other_numba(missing: str) -> ImportError:
    return ImportError(f"numba {numba.__version__} is none that sim.compiled knows: {missing}. Install 0.60 to 0.68")


@cache  # once a process
def _say_that_nothing_is_kept() -> None:
    print(
        f"warning: kernels are compiled anew in every run, as neither {Path(__file__).parent} nor a home folder can be "
        "written to; set NUMBA_CACHE_DIR to a folder that can",
        file=sys.stderr,
    )


def _one_at_a_time(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """Wrap a function so that it waits for other processes that use the same folder. Numba numbers the variants of a
    kernel in order, so two processes that compile at once would use the same file name."""

    def alone(*arguments: Any) -> Any:
        from filelock import FileLock

        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / "lock")
            lock.acquire()
        except (OSError, NotImplementedError):  # a folder that nobody can write to, or a file system without locks
            return function(*arguments)
        try:
            return function(*arguments)
        finally:
            lock.release()

    return alone


def _or_nothing(load_index: Callable[[], Any]) -> Callable[[], Any]:
    """Wrap `load_index` so that an unreadable index counts as empty. Numba reads an index before it checks its stamp,
    and an index of earlier sources may refer to classes that no longer exist."""

    def loaded() -> Any:
        try:
            return load_index()
        except Exception:
            return {}

    return loaded


@lru_cache
def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    files = [(path.name, path.stat()) for path in sorted(folder.glob("*.py"))]
    return tuple((name, about.st_mtime_ns, about.st_size) for name, about in files)
