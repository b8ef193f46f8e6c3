"""What a trainer's first thread does in its turns: sample one minibatch or several, or none, and fetch one.

A loader that samples ahead does no other work than one that doesn't, but in another order: before the first fetch of an
epoch it samples all minibatches of its horizon, then one a turn, and none in the last turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost.service_demand import FETCH_STEP


@dataclass(frozen=True, slots=True, eq=False)
class Turns:
    """The turns of a run, one a minibatch that is fetched.

    `tasks` (minibatches, steps) and the `rows` of their calls (minibatches, steps, hosts) prepare minibatch after
    minibatch, as `sim.cost.service_demand` makes them. `sampled` (minibatches,) is as in
    `sim.counts.cache_replay.FetchCounts`.
    """

    tasks: NDArray
    rows: NDArray[np.float64]
    sampled: NDArray[np.int64]

    def to_sample(self, turn: int) -> range:
        """The minibatches that are sampled in a turn."""
        return range(int(self.sampled[turn - 1]) if turn else 0, int(self.sampled[turn]))

    def together(self, span: slice) -> Iterator[slice]:
        """The turns of a span, in slices that a thread goes through without a break: a turn that samples more than one
        minibatch is alone in its slice."""
        several = span.start + np.flatnonzero(np.diff(self.sampled, prepend=0)[span] > 1)
        first = span.start
        for alone in [*several.tolist(), span.stop]:
            if first < alone:
                yield slice(first, alone)
            if alone < span.stop:
                yield slice(alone, alone + 1)
            first = alone + 1

    def in_order(self, turns: slice) -> tuple[NDArray, NDArray[np.float64]]:
        """Tasks and rows of turns that sample one minibatch at most: that sampling, and the fetch of their own one."""
        if (self.sampled[turns] == np.arange(turns.start, turns.stop) + 1).all():
            return self.tasks[turns], self.rows[turns]
        tasks, rows, sampled = self.tasks[turns].copy(), self.rows[turns].copy(), self.sampled[turns] - 1
        none = np.array([not self.to_sample(turn) for turn in range(turns.start, turns.stop)])
        for ordered, own, nothing in ((tasks, self.tasks, np.zeros((), tasks.dtype)), (rows, self.rows, 0.0)):
            ordered[:, :FETCH_STEP] = own[sampled, :FETCH_STEP]
            ordered[none, :FETCH_STEP] = nothing
        return tasks, rows
