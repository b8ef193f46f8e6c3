"""Clock offsets between trainers on several hosts: each one's `perf_counter` against rank 0's."""

from __future__ import annotations

from time import perf_counter
from typing import Any

EXCHANGES = 30

ONE_HOST = "seconds since the first minibatch, perf_counter of the one host that all machines share"
SEVERAL_HOSTS = (
    "seconds since the first minibatch, perf_counter of rank 0; the other hosts' offsets were estimated at the start "
    f"from the shortest of {EXCHANGES} exchanges"
)


def offset_s(rank: int, world_size: int, group: Any = None) -> float:
    """What to add to this trainer's `perf_counter` to get rank 0's; every trainer of the group must call it.

    Cristian's algorithm: rank 0 replies with its time, which is assumed to be half of the shortest round trip old. The
    error is at most half of that round trip.
    """
    import torch
    import torch.distributed

    if rank == 0:
        for other in range(1, world_size):
            for _ in range(EXCHANGES):
                torch.distributed.recv(torch.empty(1, dtype=torch.float64), src=other, group=group)
                torch.distributed.send(torch.tensor([perf_counter()], dtype=torch.float64), dst=other, group=group)
        return 0.0
    found = []
    theirs = torch.empty(1, dtype=torch.float64)
    for _ in range(EXCHANGES):
        sent = perf_counter()
        torch.distributed.send(theirs, dst=0, group=group)
        torch.distributed.recv(theirs, src=0, group=group)
        round_trip = perf_counter() - sent
        found.append((round_trip, float(theirs) - sent - round_trip / 2))
    return min(found)[1]
