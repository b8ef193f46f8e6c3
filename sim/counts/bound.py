"""The bound for all policies: MIN, counted like a policy, with the rows that fill its buffer before the first
minibatch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.caches.cache import Cache
from sim.config import RunConfig
from sim.counts.count import count
from sim.counts.policy_runs import make_caches
from sim.workload.load import TrainerInput
from sim.workload.stream import Stream
from traces.header import Header


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """MIN's counts, over all trainers: `hit_rows` and `missed_rows` (int64) have shape (minibatches,)."""

    hit_rows: NDArray[np.int64]
    missed_rows: NDArray[np.int64]
    fill_rows: int

    @property
    def fetched_rows(self) -> int:
        """The fewest rows that any policy could fetch in the whole run, initial rows included."""
        return self.fill_rows + int(self.missed_rows.sum())


def bound_of_run(inputs: list[TrainerInput], header: Header, config: RunConfig) -> Bound:
    """MIN with buffers as the configuration has them, whatever its cache and start."""
    minibatches = inputs[0].stream.minibatches
    hits, missed, fill = np.zeros(minibatches, np.int64), np.zeros(minibatches, np.int64), 0
    caches = make_caches(inputs, header, config.model_copy(update={"cache": "min"}))
    for one, cache in zip(inputs, caches, strict=True):
        trainer = bound_of_trainer(cache, one.stream)
        hits += trainer.hit_rows
        missed += trainer.missed_rows
        fill += trainer.fill_rows
    return Bound(hits, missed, fill)


def bound_of_trainer(minimal: Cache, stream: Stream) -> Bound:
    """One trainer's MIN, whose buffer is filled before the first minibatch with the rows that are asked for first.

    It fetches as many rows as MIN with an empty start, but the first uses of the initial rows are hits. They fit: MIN
    keeps only rows that have been requested, so the slots of rows before their first use are free. No policy that
    fetches only misses during training has more hits.
    """
    hits, _ = count(minimal, stream)
    filled = np.minimum(np.cumsum(first_uses(stream)), minimal.capacity_rows)
    hits += np.diff(filled, prepend=0)
    return Bound(hits, stream.remote_rows - hits, int(filled[-1]) if len(filled) else 0)


def first_uses(stream: Stream) -> NDArray[np.int64]:
    """The number of cacheable rows that each minibatch requests for the first time: shape (minibatches,)."""
    seen = np.zeros(stream.universe.rows, np.bool_)
    first = np.zeros(stream.minibatches, np.int64)
    for minibatch in range(stream.minibatches):
        ids = stream.minibatch(minibatch)
        first[minibatch] = len(ids) - np.count_nonzero(seen[ids])
        seen[ids] = True
    return first
