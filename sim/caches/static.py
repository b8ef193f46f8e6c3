"""Buffers that never change, by what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.blocks import BELOW
from sim.caches.cache import Access, Cache, Setup, constant, degree_order, initial_ids, known_future
from sim.caches.demand import Ids
from sim.compiled import kernel
from traces.errors import InputError

_NONE = np.empty(0, np.int32)


class Static(Cache):
    """Holds for the whole run the rows that it starts with (`Setup.init`)."""

    summary = "static: holds the initial rows for the whole run"
    source = "DistDGL with a prefetched buffer, as in Rudder, ICS 2026"
    managed = False

    def __init__(self, *, setup: Setup) -> None:
        super().__init__(setup)
        ids = self._choose(setup)[: self.capacity_rows]
        held = np.full(self.capacity_rows, -1, np.int32)
        held[: len(ids)] = ids
        slot_of = np.full(setup.universe.rows, -1, np.int32)
        slot_of[ids] = np.arange(len(ids), dtype=np.int32)
        self.held, self.slot_of = constant(held), constant(slot_of)
        self._occupied = len(ids)

    def _choose(self, setup: Setup) -> Ids:
        """The rows to hold, the best first; those beyond the capacity are left out."""
        return initial_ids(setup)

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        hit_slots = np.empty(len(ids), np.int32)
        return Access(hit_slots, look_up(ids, self.slot_of, hit_slots), _NONE, _NONE, 0)

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return self._occupied


class Degree(Static):
    """Holds the rows that feed most edges into the partition; ties by degree in the whole graph, then by id."""

    takes_init = False
    summary = "static: the rows of highest local degree"
    source = "Lin et al., PaGraph, SoCC 2020"

    def _choose(self, setup: Setup) -> Ids:
        return degree_order(setup.universe)


class Random(Static):
    """Holds rows drawn without replacement under `Setup.seed`."""

    takes_init = False
    summary = "static: rows drawn at random"
    source = "the baseline that a ranking must beat"

    def _choose(self, setup: Setup) -> Ids:
        return np.random.default_rng(setup.seed).permutation(setup.universe.rows).astype(np.int32)


class VIP(Static):
    """Holds the rows of highest vertex inclusion probability, computed from the graph before training."""

    takes_init = False
    summary = "static: the rows most likely to be sampled, by analysis of the partitioned graph"
    source = "Kaler et al., SALIENT++, MLSys 2023"

    def _choose(self, setup: Setup) -> Ids:
        """Raises `InputError` where the trace has no inclusion probabilities."""
        return most_likely(setup, "vip")


class StaticOptimum(Static):
    """Holds the rows that the run will ask for most often: no static set has more hits."""

    takes_init = False
    live = False
    summary = "bound: the best static set in hindsight"
    source = "the optimal static cache of Yang et al., GNNLab, EuroSys 2022"

    def _choose(self, setup: Setup) -> Ids:
        """Raises `InputError` where `setup.future` is None."""
        counts = np.bincount(known_future(setup, "static-opt").ids, minlength=setup.universe.rows)
        return best_first(counts, setup)[: np.count_nonzero(counts)]


def most_likely(setup: Setup, name: str) -> Ids:
    """All dense ids, the highest vertex inclusion probability first: shape (universe,).

    Raises `InputError`, in the name of the cache that asks, where the trace has no inclusion probabilities.
    """
    if setup.universe.vip is None:
        raise InputError(f"{name}: the trace has no column `vip`; capture it again, or use vip-sampled")
    return best_first(setup.universe.vip, setup)


def best_first(worth: NDArray[Any], setup: Setup) -> Ids:
    """All dense ids, highest `worth` (universe,) first, ties in the order of their degrees: shape (universe,).

    `worth` is whole numbers below 2^31, or float32, and not negative.
    """
    # Sorting numbers is ten times faster than a stable sort of indices; floats sort as the integers of the same bits.
    bits = worth.view(np.int32) if worth.dtype == np.float32 else worth
    keys = (bits.astype(np.int64) << 32) | (BELOW - setup.universe.degree_rank.astype(np.int64))
    return setup.universe.degree_order[BELOW - (np.sort(keys)[::-1] & BELOW)]


@kernel
def look_up(ids, slot_of, hit_slots):  # type: ignore[no-untyped-def]
    """Fill in the slot of every id. Returns the number of hits."""
    hits = 0
    for i in range(len(ids)):
        slot = slot_of[ids[i]]
        hit_slots[i] = slot
        hits += slot >= 0
    return hits
