"""How kernels are compiled, and where they are kept. What is numba's own and not documented is used here only.

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
"""Whether kernels are compiled, and not plain Python."""

OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
"""Kernels run without the interpreter's lock, and without numba's memory manager: such a function cannot allocate, and
does not count references, which would cost more than the work on a row itself."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile once, and keep what was compiled on disk.

    What is kept holds as long as no file of the function's folder changes. Numba itself looks at the function's own
    file only, though the code of kernels of other files is built into it.
    """
    return _compiled(function)


def part(function: Callable[..., Any]) -> Any:
    """As `kernel`, for a function that only kernels call. It is built into them: handing a state's many arrays over
    takes longer than most of what is done with them. And it lacks what Python needs to call it, which takes as long to
    compile as the function itself."""
    return _compiled(function, no_cpython_wrapper=True, forceinline=True)


def machine_code(function: Any) -> Any:
    """What a kernel was compiled to, for arguments of the types that it has been called with. If it has been called
    with several types, the kernel itself.

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
    """Have numba keep a kernel as long as no file of the folder of its sources changes, and one process at a time."""
    kept = _of_numba(compiled, "_cache")
    files, folder = _of_numba(kept, "_cache_file"), Path(_of_numba(kept, "cache_path"))
    _of_numba(files, "_source_stamp")
    files._source_stamp = _stamp(sources)
    files._load_index = _or_nothing(_of_numba(files, "_load_index"))
    files.load, files.save = (_one_at_a_time(_of_numba(files, name), folder) for name in ("load", "save"))


def _of_numba(thing: Any, name: str) -> Any:
    """An attribute of something of numba's. Raises `ImportError` if this version of numba has none of that name."""
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
    """The function, waiting for other processes that use the same folder: numba numbers the variants of a kernel as
    they come, so that two processes which compile at once would give one file the name of the other."""

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
    """The function, or no kernels at all if it can't read those of earlier sources, whose classes are gone: numba reads
    an index before it looks at its stamp."""

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
