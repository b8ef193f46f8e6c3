"""DGL's pieces of /dev/shm: names for each job, a check of free space, and cleaning up.

DGL's names there identify neither graph nor job, and remain when a server is killed.
"""

from __future__ import annotations

import functools
import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from traces.errors import InputError

FOLDER = Path("/dev/shm")


def new_token() -> str:
    """The prefix of the names of a new job."""
    return f"rudder-{uuid.uuid4().hex[:12]}"


def check_room(files: Iterable[Path]) -> None:
    """Raise `InputError` if the partitions in `files` won't fit into /dev/shm, 64 MB in a container by default.

    DGL doesn't check, and its servers would die of SIGBUS.
    """
    needed_bytes = sum(path.stat().st_size for path in files)
    free_bytes = shutil.disk_usage(FOLDER).free
    if needed_bytes > free_bytes:
        raise InputError(
            f"{FOLDER}: has {free_bytes / 1e6:.0f} MB free, the partitions need {needed_bytes / 1e6:.0f} MB; "
            "make it larger (docker run --shm-size)"
        )


def prefix_names(prefix: str) -> None:
    """Put `prefix` before all names in shared memory that DGL uses in this process."""
    from dgl import DGLGraph, heterograph_index
    from dgl.distributed import dist_graph, graph_partition_book, kvstore, shared_mem_utils

    for module in (dist_graph, graph_partition_book, kvstore, shared_mem_utils):
        _prefix(module, "empty_shared_mem", 0, prefix)
    for module in (dist_graph, graph_partition_book):
        _prefix(module, "exist_shared_mem_array", 0, prefix)
    _prefix(heterograph_index, "create_heterograph_from_shared_memory", 0, prefix)
    _prefix(DGLGraph, "shared_memory", 1, prefix)  # argument 0 is the graph itself


def hold(token: str) -> None:
    """Mark the pieces of `token` as in use while this process lives, and remove those of processes that are gone."""
    import fcntl  # which only systems have that run clusters

    for lock in FOLDER.glob("rudder-*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR)
        except OSError:  # another user's, or just removed
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(lock.stem)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
    held = os.open(FOLDER / f"{token}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)  # until the last process that inherits `held` ends


def remove(token: str) -> None:
    """Remove a job's pieces."""
    for path in FOLDER.glob(f"{token}[-.]*"):
        path.unlink(missing_ok=True)


def _prefix(owner: Any, name: str, position: int, prefix: str) -> None:
    """Put `prefix` before the argument at `position`, the name of a piece of shared memory."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def prefixed(*arguments: Any, **keywords: Any) -> Any:
        before, named, after = arguments[:position], arguments[position], arguments[position + 1 :]
        return function(*before, prefix + named.lstrip("/"), *after, **keywords)

    setattr(owner, name, prefixed)
