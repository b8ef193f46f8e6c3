"""Static sets that are learned from the run's own past."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Setup, initial_ids
from sim.caches.demand import Ids
from sim.caches.static import best_first
from sim.compiled import kernel
from traces.errors import InputError

_NONE = np.empty(0, np.int32)


class Presampled(Cache):
    """Starts with the initial rows and counts; when it is due, it turns to the rows that were asked for most often.

    Nothing but minibatches that are over enter the counts, so it could do the same in a live run. Turning costs
    O(universe), and fetches the rows that come in and were not just missed; rows that stay keep their slots.
    """

    managed = False

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.setup = setup
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.slot_of = np.full(setup.universe.rows, -1, np.int32)
        self.counts = np.zeros(setup.universe.rows, np.int32)
        self.served = 0
        initial = initial_ids(setup)
        self.held[: len(initial)] = initial
        self.slot_of[initial] = np.arange(len(initial), dtype=np.int32)
        self._occupied = len(initial)

    @abstractmethod
    def _due(self) -> bool:
        """Whether to turn now that `served` minibatches are over."""

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        hit_slots = np.empty(len(ids), np.int32)
        hits = look_up_and_count(ids, self.slot_of, self.counts, hit_slots)
        self.served += 1
        if not self._due():
            return Access(hit_slots, hits, _NONE, _NONE, 0)
        inserted, slots = self._turn()
        return Access(hit_slots, hits, inserted, slots, int(np.count_nonzero(~np.isin(inserted, ids[hit_slots < 0]))))

    def _turn(self) -> tuple[Ids, Ids]:
        asked = int(np.count_nonzero(self.counts))
        wanted = best_first(self.counts, self.setup)[: min(self.capacity_rows, asked)]
        inserted = wanted[self.slot_of[wanted] < 0]
        kept = np.zeros(self.capacity_rows, bool)
        kept[self.slot_of[wanted[self.slot_of[wanted] >= 0]]] = True
        empty, others = np.flatnonzero(self.held < 0), np.flatnonzero((self.held >= 0) & ~kept)
        slots = np.concatenate((empty, others))[: len(inserted)].astype(np.int32)
        gone = self.held[slots]
        self.slot_of[gone[gone >= 0]] = -1
        self.held[slots] = inserted
        self.slot_of[inserted] = slots
        self._occupied += int(np.count_nonzero(gone < 0))
        return inserted, slots

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return self._occupied


class PreSC(Presampled):
    """Counts over the first `epochs` epochs, turns once, and is static from then on."""

    summary = "static after the first epochs: the rows that they asked for most often"
    source = "Yang et al., GNNLab, EuroSys 2022"

    def __init__(self, epochs: int = 1, *, setup: Setup) -> None:
        """Raises `InputError` where `epochs` is below 1."""
        if epochs < 1:
            raise InputError(f"presc: epochs={epochs} must be at least 1")
        super().__init__(setup)
        self.sampled = epochs * setup.minibatches_per_epoch

    def _due(self) -> bool:
        return self.served == self.sampled


class SampledVIP(Presampled):
    """Estimates a row's inclusion probability by the share of past minibatches that asked for it; turns every epoch."""

    summary = "every epoch: the rows most likely to be sampled, estimated from all minibatches so far"
    source = "the sampled estimate of vertex inclusion probability, after Kaler et al., SALIENT++, MLSys 2023"

    def __init__(self, *, setup: Setup) -> None:
        super().__init__(setup)
        self.epoch = setup.minibatches_per_epoch

    def _due(self) -> bool:
        return self.served % self.epoch == 0


@kernel
def look_up_and_count(ids, slot_of, counts, hit_slots):  # type: ignore[no-untyped-def]
    """Fill in the slot of every id and count its access. Returns the number of hits."""
    hits = 0
    for i in range(len(ids)):
        slot = slot_of[ids[i]]
        hit_slots[i] = slot
        hits += slot >= 0
        counts[ids[i]] += 1
    return hits
