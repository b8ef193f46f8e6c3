"""Machines that are only told apart by port: for places where the kernel grants no namespaces.

All share 127.0.0.1 and the host's /dev/shm. DGL finds out which machine it is on by IP address, and its names in
/dev/shm are the same on all machines, so both are overridden in every process. Nothing limits the link.
"""

from __future__ import annotations

import functools
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traces.errors import InputError

ADDRESS = "127.0.0.1"
INTERFACE = "lo"
FIRST_PORT = 20000  # up to the kernel's own range for outgoing connections, which starts at 32768
LAST_PORT = 32000
SHARED_MEMORY = Path("/dev/shm")


def free_ports(blocks: int, length: int) -> list[int]:
    """The first port of each of `blocks` disjoint runs of `length` free ports."""
    held: list[socket.socket] = []
    firsts: list[int] = []
    port = FIRST_PORT
    try:
        while len(firsts) < blocks:
            run = []
            for candidate in range(port, port + length):
                listener = socket.socket()
                held.append(listener)
                try:
                    listener.bind((ADDRESS, candidate))
                except OSError:
                    break
                run.append(candidate)
            port += len(run) if len(run) == length else len(run) + 1
            if len(run) == length:
                firsts.append(run[0])
            elif port > LAST_PORT:
                raise OSError(f"no {length} free ports in a row on {ADDRESS} from {FIRST_PORT} to {LAST_PORT}")
    finally:
        for listener in held:
            listener.close()
    return firsts


def check_room(part_config: Path) -> None:
    """Raise `InputError` if the partitions won't fit into /dev/shm, which is 64 MB in a container by default.

    DGL doesn't look, and its servers would die of SIGBUS.
    """
    needed_bytes = sum(path.stat().st_size for path in part_config.parent.glob("part*/*.dgl"))
    free_bytes = shutil.disk_usage(SHARED_MEMORY).free
    if needed_bytes > free_bytes:
        raise InputError(
            f"{SHARED_MEMORY}: has {free_bytes / 1e6:.0f} MB free, the partitions need {needed_bytes / 1e6:.0f} MB; "
            "make it larger (docker run --shm-size)"
        )


def enter(machine: int, token: str) -> None:
    """Make this process one of `machine`, in the job that `token` names."""
    from dgl import DGLGraph, heterograph_index
    from dgl.distributed import dist_graph, graph_partition_book, kvstore, rpc_client, shared_mem_utils

    rpc_client.get_local_machine_id = lambda namebook: machine
    prefix = f"{token}-m{machine}-"
    for module in (dist_graph, graph_partition_book, kvstore, shared_mem_utils):
        _prefix_names(module, "empty_shared_mem", 0, prefix)
    for module in (dist_graph, graph_partition_book):
        _prefix_names(module, "exist_shared_mem_array", 0, prefix)
    _prefix_names(heterograph_index, "create_heterograph_from_shared_memory", 0, prefix)
    _prefix_names(DGLGraph, "shared_memory", 1, prefix)  # argument 0 is the graph itself


def remove_shared_memory(token: str) -> None:
    """Remove what killed processes of the job left in /dev/shm."""
    for path in SHARED_MEMORY.glob(f"{token}-m*"):
        path.unlink(missing_ok=True)


def _prefix_names(owner: Any, name: str, position: int, prefix: str) -> None:
    """Put `prefix` before the argument at `position`, the name of a piece of shared memory."""
    function: Callable[..., Any] = getattr(owner, name)

    @functools.wraps(function)
    def prefixed(*arguments: Any, **keywords: Any) -> Any:
        before, named, after = arguments[:position], arguments[position], arguments[position + 1 :]
        return function(*before, prefix + named.lstrip("/"), *after, **keywords)

    setattr(owner, name, prefixed)
