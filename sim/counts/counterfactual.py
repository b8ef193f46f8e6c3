"""Both branches of a decision: the buffer is forked, and replayed with and without a replacement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from agents.oracle import Foresight
from agents.policy import Decision
from sim.caches.cache import Cache
from sim.counts.cache_replay import FetchCounts, replay_minibatch
from sim.workload.load import TrainerInput
from sim.workload.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One trainer's minibatches from `first` on, as they would be under one decision, and the rows that they fetch."""

    first: int
    fetch_counts: FetchCounts
    fetched_rows: int


def branch(source: TrainerInput, cache: Cache, first: int, horizon: int, decision: Decision | None) -> Branch:
    """Replay a copy of `cache` for `horizon` minibatches from `first` on, or to the end of the run.

    `decision` applies to the first of them; no other follows.
    """
    window = part_of_run(source, first, horizon)
    minibatches = window.stream.minibatches
    fork = cache.fork()
    fetch_counts = FetchCounts(
        hit_rows=np.zeros(minibatches, np.int64),
        replacement_rows=np.zeros(minibatches, np.int64),
        rows_by_owner=window.owner_rows.copy(),
        fill_by_owner=np.zeros(window.owner_rows.shape[1], np.int64),
        sampled=np.arange(1, minibatches + 1),
        capacity_rows=0,
    )
    for minibatch in range(minibatches):
        replay_minibatch(fetch_counts, window, fork, minibatch, decision if minibatch == 0 else None)
    fetched = window.stream.remote_rows.sum() - fetch_counts.hit_rows.sum() + fetch_counts.replacement_rows.sum()
    return Branch(first, fetch_counts, int(fetched))


def foresight(source: TrainerInput, cache: Cache) -> Foresight:
    """The function `foresee` of `agents.oracle.Oracle` for a cache."""
    return partial(_both, source, cache)


def _both(source: TrainerInput, cache: Cache, first: int, horizon: int) -> tuple[int, int]:
    replaced = branch(source, cache, first, horizon, Decision(replace=True))
    return replaced.fetched_rows, branch(source, cache, first, horizon, None).fetched_rows


def part_of_run(source: TrainerInput, first: int, minibatches: int) -> TrainerInput:
    """A trainer's run from minibatch `first` on; nothing is copied."""
    span, stream = slice(first, first + minibatches), source.stream
    return replace(
        source,
        stream=Stream(
            universe=stream.universe,
            ids=stream.ids,
            offsets=stream.offsets[first : first + minibatches + 1],
            remote_rows=stream.remote_rows[span],
            halo_rows=stream.halo_rows[span],
        ),
        owner_rows=source.owner_rows[span],
        local_rows=source.local_rows[span],
        sampled_edges=source.sampled_edges[span],
        times={name: values[span] for name, values in source.times.items()},
    )


def part_of_counts(fetch_counts: FetchCounts, first: int, minibatches: int) -> FetchCounts:
    """The counts from minibatch `first` on, without initial rows."""
    span = slice(first, first + minibatches)
    return replace(
        fetch_counts,
        hit_rows=fetch_counts.hit_rows[span],
        replacement_rows=fetch_counts.replacement_rows[span],
        rows_by_owner=fetch_counts.rows_by_owner[span],
        fill_by_owner=np.zeros_like(fetch_counts.fill_by_owner),
        sampled=fetch_counts.sampled[span] - first,
        capacity_rows=0,
    )
