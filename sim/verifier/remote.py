"""A candidate's policy and cache as the simulator sees them: every answer comes from its processes, and is checked.

All that is counted is counted on this side. A candidate is told what a trainer would know at that moment, and nothing
that is still to come.
"""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision, Observation, Ranking, RunFacts
from sim.caches.cache import Access, Cache, Setup
from sim.verifier.process import Pair, Refused

Ids = NDArray[np.int32]


class RemotePolicy:
    """A policy in processes of its own. It decides at once: a candidate's word on its latency is not taken."""

    def __init__(self, name: str, pair: Pair) -> None:
        self.name, self.pair = name, pair

    def reset(self, run: RunFacts, seed: int) -> None:
        """Start a run."""
        self.pair.ask("reset", run, seed)

    def decide(self, observation: Observation) -> Decision:
        """Its decision, without its words. Raises `Refused` for what is none."""
        replace, share, ranking = self.pair.told("decide", observation, types=(bool, float, str))
        if not 0.0 < share <= 1.0 or ranking not in get_args(Ranking):
            raise Refused("contract", f"it answers with share={share!r}, ranking={ranking!r}")
        return Decision(replace=replace, share=share, ranking=ranking)


class RemoteCache(Cache):
    """A cache in processes of its own. Which rows are hit, and what is fetched, follows from what it takes in where."""

    managed = False

    def __init__(self, pair: Pair, *, setup: Setup) -> None:
        """Raises `Refused` for a cache that holds what can't be at the start."""
        super().__init__(setup)
        self.pair, self.universe_rows = pair, setup.universe.rows
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.slot_of = np.full(self.universe_rows, -1, np.int32)
        held = pair.ids("make", setup)
        if len(held) != self.capacity_rows:
            raise Refused("contract", f"contents() has {len(held)} slots; capacity_rows is {self.capacity_rows}")
        slots = np.flatnonzero(held >= 0).astype(np.int32)
        self._put(held[slots], slots)

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch. Raises `Refused` for what can't be taken in."""
        reply = self.pair.ids("access", ids)
        if len(reply) % 2:
            raise Refused("contract", "it takes in another number of rows than it names slots for")
        inserted, slots = reply[: len(reply) // 2], reply[len(reply) // 2 :]
        hit_slots = self.slot_of[ids]
        missed = ids[hit_slots < 0]
        self._put(inserted, slots)
        beside = len(inserted) - int(np.count_nonzero(np.isin(inserted, missed, assume_unique=True)))
        return Access(hit_slots, len(ids) - len(missed), inserted, slots, beside)

    def _put(self, inserted: Ids, slots: Ids) -> None:
        for what, numbers, end in (("rows", inserted, self.universe_rows), ("slots", slots, self.capacity_rows)):
            if len(numbers) and (numbers.min() < 0 or numbers.max() >= end):
                raise Refused("contract", f"it names {what} from {numbers.min()} to {numbers.max()}; there are {end}")
            if len(np.unique(numbers)) != len(numbers):
                raise Refused("contract", f"it names {what} twice")
        gone = self.held[slots]
        self.slot_of[gone[gone >= 0]] = -1
        if (self.slot_of[inserted] >= 0).any():
            raise Refused("contract", "it takes in a row that it holds in another slot")
        self.held[slots], self.slot_of[inserted] = inserted, slots

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()
