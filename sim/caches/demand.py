"""What all demand caches share: a record per row, and what a minibatch does to it.

A demand cache is a class with its arrays and one compiled kernel. The kernel serves the ids in groups: the whole
minibatch (`mode=batch`), or one id at a time (`mode=access`, in which an algorithm is exactly the published one). In
each group it

1. looks up all ids, and touches the hits in ascending order of their ids;
2. admits the misses in ascending order of their ids, until every slot holds a row of this group. Misses beyond that are
   bypassed: they are fetched, used, and not kept.

A row of the current group is never evicted: a kernel that meets one passes it over, as its docstring says.

What a minibatch costs is waiting for records of rows and guessing branches wrong. So a kernel goes over the group in
short loops, each over all its ids, that touch one record an id and have no branch which depends on what is hit.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Setup, initial_ids
from sim.compiled import part
from traces.errors import InputError

Ids = NDArray[np.int32]
SLOT, USED = 0, 1  # the first fields of a row's record


class Demand(Cache):
    """A cache that takes in what was missed, on its own rule.

    `rows` (universe, fields) has a record per cacheable row: its slot or -1, then further fields, of most caches
    first the group that last asked for the row. `state` are the numbers that the kernel carries on, the first of them
    the occupied rows.
    """

    managed = False

    def __init__(self, mode: str, fields: int, setup: Setup, capacity_rows: int | None = None) -> None:
        """Raises `InputError` where `mode` is neither `batch` nor `access`."""
        super().__init__(setup)
        if capacity_rows is not None:
            self.capacity_rows = capacity_rows
        if mode not in ("batch", "access"):
            raise InputError(f"mode={mode!r}: there are the modes batch (a minibatch at once) and access (id by id)")
        self.single = mode == "access"
        self.rows = np.full((setup.universe.rows, fields), -1, np.int32)
        self.state = np.zeros(10, np.int64)

    @abstractmethod
    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        """Run the kernel on `ids`; it fills the other three arrays. Returns the number of hits and of inserted rows."""

    def warm_up(self, setup: Setup) -> None:
        """Take in the initial rows, the best last, as if they had been asked for just before the run."""
        self.access(np.ascontiguousarray(initial_ids(setup)[::-1]))

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        hit_slots, inserted_ids, inserted_slots = (np.empty(len(ids), np.int32) for _ in range(3))
        hits, inserted = self._serve(ids, hit_slots, inserted_ids, inserted_slots)
        return Access(hit_slots, hits, inserted_ids[:inserted], inserted_slots[:inserted], 0)

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        held = np.full(self.capacity_rows, -1, np.int32)
        rows = np.flatnonzero(self.rows[:, SLOT] >= 0)
        held[self.rows[rows, SLOT]] = rows
        return held

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return int(self.state[0])


@part
def look_up(ids, start, stop, now, rows, hit_slots, missed_ids, missed):  # type: ignore[no-untyped-def]
    """Fill the hit slots of one group, note in every row's record that it was asked for now, and append the misses to
    the first `missed` ones. Returns how many there are."""
    for i in range(start, stop):
        row = ids[i]
        slot = rows[row, SLOT]
        rows[row, USED] = now
        hit_slots[i] = slot
        missed_ids[missed] = row
        missed += slot < 0
    return missed


@part
def fill(first, last, capacity, state, slots):  # type: ignore[no-untyped-def]
    """Give the first of some missed rows the free slots, in their order. Returns where those without one begin."""
    occupied = state[0]
    free = min(last - first, capacity - occupied)
    for j in range(free):
        slots[first + j] = occupied + j
    state[0] = occupied + free
    return first + free


@part
def put(ids, slots, first, last, used, rows):  # type: ignore[no-untyped-def]
    """Put rows into slots that others have left; `used` goes into their records."""
    for j in range(first, last):
        rows[ids[j], SLOT], rows[ids[j], USED] = slots[j], used
