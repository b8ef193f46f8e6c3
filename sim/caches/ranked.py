"""Caches that a ranking function makes: of what is held and what was missed, the best stay."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Setup, constant

NEVER = -1


class Rows(NamedTuple):
    """What a ranking function knows of rows. Arrays have the shape (rows,), ages and gaps count minibatches.

    `accesses` is how often a row was asked for, this minibatch included; `age` how long ago that was last, 0 for rows
    of this minibatch; `gap` the time between its last two accesses, 0 where there was one. `degree` is the out-degree
    in the whole graph, `local_degree` the edges into the trainer's partition, `vip` the probability of being asked for
    in a minibatch (0 where the trace has none). `held` tells rows of the buffer from misses. `minibatch` counts from 0.
    """

    accesses: NDArray[np.int64]
    age: NDArray[np.int64]
    gap: NDArray[np.int64]
    degree: NDArray[np.int64]
    local_degree: NDArray[np.int64]
    vip: NDArray[np.float64]
    held: NDArray[np.bool_]
    minibatch: int
    minibatches_per_epoch: int


class Ranked(Cache):
    """Keeps, after each minibatch, those of the held and the missed rows that `rank` puts first.

    A subclass is a ranking function. No row is fetched but for a miss. It starts empty whatever `Setup.init` says. Ties
    go to the row of higher local degree, then of higher degree, then of lower id.
    """

    managed = False
    takes_init = False

    def __init__(self, *, setup: Setup) -> None:
        super().__init__(setup)
        universe = setup.universe
        self.slots = np.full(self.capacity_rows, -1, np.int32)  # the row in every slot; the first `occupied` are taken
        self.slot_of = np.full(universe.rows, -1, np.int32)
        self.accesses, self.gap = np.zeros((2, universe.rows), np.int64)
        self.last = np.full(universe.rows, NEVER, np.int64)
        self.degree, self.local_degree = constant(universe.degrees), constant(universe.local_degrees)
        vip = np.zeros(universe.rows) if universe.vip is None else universe.vip.astype(np.float64)
        self.vip, self.place = constant(vip), constant(universe.degree_rank)
        self.per_epoch, self.occupied, self.now = setup.minibatches_per_epoch, 0, -1

    @abstractmethod
    def rank(self, rows: Rows) -> NDArray[np.float64]:
        """A number a row, the highest for what is to stay. Shape (rows,), any finite or infinite number."""

    def access(self, ids: NDArray[np.int32], decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`. Raises `ValueError` for ranks that are none."""
        self.now += 1
        hit_slots = self.slot_of[ids]
        missed = ids[hit_slots < 0]
        self.gap[ids] = np.where(self.accesses[ids] > 0, self.now - self.last[ids], 0)
        self.last[ids] = self.now
        self.accesses[ids] += 1
        held = self.slots[: self.occupied]
        free = self.capacity_rows - self.occupied
        leaving = np.empty(0, np.int64)
        if len(missed) > free:
            kept = self._best(np.concatenate([held, missed]))
            leaving, missed = np.flatnonzero(~kept[: self.occupied]), missed[kept[self.occupied :]]
        taken = len(missed) - len(leaving)
        into = np.concatenate([leaving, np.arange(self.occupied, self.occupied + taken)]).astype(np.int32)
        self.slot_of[self.slots[leaving]] = -1
        self.slots[into], self.slot_of[missed] = missed, into
        self.occupied += taken
        return Access(hit_slots, len(ids) - int(np.count_nonzero(hit_slots < 0)), missed, into, 0)

    def _best(self, ids: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which of some rows, more than the capacity, are to be kept."""
        ranks = np.asarray(self.rank(self._rows(ids)), np.float64)
        if ranks.shape != ids.shape or np.isnan(ranks).any():
            what = "some that are no number" if ranks.shape == ids.shape else f"shape {ranks.shape}"
            raise ValueError(f"rank must give a number a row, shape {ids.shape}; it gave {what}")
        least = np.partition(ranks, -self.capacity_rows)[-self.capacity_rows]
        kept: NDArray[np.bool_] = ranks > least
        tied = np.flatnonzero(ranks == least)
        room = self.capacity_rows - int(np.count_nonzero(kept))
        kept[tied[np.argsort(self.place[ids[tied]])[:room]]] = True
        return kept

    def _rows(self, ids: NDArray[np.int32]) -> Rows:
        return Rows(
            accesses=self.accesses[ids],
            age=self.now - self.last[ids],
            gap=self.gap[ids],
            degree=self.degree[ids],
            local_degree=self.local_degree[ids],
            vip=self.vip[ids],
            held=self.slot_of[ids] >= 0,
            minibatch=self.now,
            minibatches_per_epoch=self.per_epoch,
        )

    def contents(self) -> NDArray[np.int32]:
        """The dense id in every slot, -1 where it is empty."""
        return self.slots.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return self.occupied
