"""Both futures of a decision: the buffer as it is, forked, with the rows replaced and without."""

from __future__ import annotations

from functools import partial

from agents.oracle import Foresight
from agents.policy import Decision
from sim.caches.cache import Cache
from sim.stream import Stream


def fetched_rows(cache: Cache, stream: Stream, first: int, horizon: int, decision: Decision | None) -> int:
    """Rows that a copy of `cache` fetches in `horizon` minibatches from `first` on, or to the end of the run.

    `decision` applies to the first of them; no other follows.
    """
    branch = cache.fork()
    rows = 0
    for minibatch in range(first, min(first + horizon, stream.minibatches)):
        access = branch.access(stream.minibatch(minibatch), decision if minibatch == first else None)
        rows += int(stream.remote_rows[minibatch]) - access.hit_rows + access.replacement_rows
    return rows


def foresight(cache: Cache, stream: Stream) -> Foresight:
    """What `agents.oracle.Oracle` asks for, about a cache that is in use."""
    return partial(_both, cache, stream)


def _both(cache: Cache, stream: Stream, first: int, horizon: int) -> tuple[int, int]:
    replaced = fetched_rows(cache, stream, first, horizon, Decision(replace=True))
    return replaced, fetched_rows(cache, stream, first, horizon, None)
