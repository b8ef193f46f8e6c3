"""Machines that differ only in their ports, where the kernel doesn't permit namespaces.

All share 127.0.0.1 and the host's /dev/shm. DGL finds out which machine it is on by IP address, and its names in
/dev/shm are the same on all machines, so both are overridden in every process. Nothing limits the link.
"""

from __future__ import annotations

import socket

from traces.cluster import shared_memory

ADDRESS = "127.0.0.1"
INTERFACE = "lo"
FIRST_PORT = 20000  # up to the kernel's own range for outgoing connections, which starts at 32768
LAST_PORT = 32000


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


def enter(machine: int, token: str) -> None:
    """Make this process one of `machine`, in the job that `token` names."""
    from dgl.distributed import rpc_client

    rpc_client.get_local_machine_id = lambda namebook: machine
    shared_memory.prefix_names(f"{token}-m{machine}-")
