"""How kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from fcntl import LOCK_EX, flock
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import njit


def kernel(function: Callable[..., Any]) -> Any:
    """Compile once and cache on disk, without the interpreter's lock, and without numba's memory manager: such a
    function cannot allocate, and does not count references, which would cost more than the work on a row itself.

    What is cached holds as long as no file of the function's folder changes. Numba itself looks at the function's own
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
    compiled = list(function.overloads.values())
    return compiled[0].entry_point if len(compiled) == 1 else function


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    options |= {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
    compiled = njit(**options)(function)
    files = compiled._cache._cache_file
    files._source_stamp = _stamp(Path(function.__code__.co_filename).parent)
    files._load_index = _or_nothing(files._load_index)
    files.load, files.save = (_one_at_a_time(one, Path(compiled._cache.cache_path)) for one in (files.load, files.save))
    return compiled


def _one_at_a_time(function: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The function, waiting for other processes that use the same cache: numba numbers the variants of a kernel as they
    come, so that two processes which compile at once would give one file the name of the other."""

    def alone(*arguments: Any) -> Any:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / "lock").open("a")
        except OSError:  # a folder that nobody can write to
            return function(*arguments)
        with lock:
            flock(lock, LOCK_EX)
            return function(*arguments)

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
