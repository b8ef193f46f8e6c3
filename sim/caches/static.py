"""A buffer that never changes: the baseline of every static cache."""

from __future__ import annotations

import numpy as np

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Setup, constant, initial_ids
from sim.caches.demand import Ids
from sim.caches.kernel import kernel

_NONE = np.empty(0, np.int32)


class Static(Cache):
    """Holds for the whole run the rows that it starts with (`Setup.init`)."""

    summary = "never changes: holds the initial rows for the whole run"
    source = "PaGraph, SoCC 2020 (by degree)"
    managed = False

    def __init__(self, *, setup: Setup) -> None:
        super().__init__(setup)
        self.fill(self.choose(setup), setup.universe.rows)

    def choose(self, setup: Setup) -> Ids:
        """The rows to hold, the best first: at most `capacity_rows` dense ids."""
        return initial_ids(setup)

    def fill(self, ids: Ids, universe_rows: int) -> None:
        """Put `ids` into the first slots and leave the others empty."""
        held = np.full(self.capacity_rows, -1, np.int32)
        held[: len(ids)] = ids
        slot_of = np.full(universe_rows, -1, np.int32)
        slot_of[ids] = np.arange(len(ids), dtype=np.int32)
        self.held, self.slot_of = constant(held), constant(slot_of)
        self._occupied = len(ids)

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        hit_slots = np.empty(len(ids), np.int32)
        hits = look_up(ids, self.slot_of, hit_slots)
        return Access(hit_slots, hits, _NONE, _NONE, 0)

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return self._occupied


@kernel
def look_up(ids, slot_of, hit_slots):  # type: ignore[no-untyped-def]
    hits = 0
    for i in range(len(ids)):
        slot = slot_of[ids[i]]
        hit_slots[i] = slot
        hits += slot >= 0
    return hits
