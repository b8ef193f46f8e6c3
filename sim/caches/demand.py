"""What all demand caches share: a record per row, the rows in the slots, and a look at both.

A demand cache is a class with its arrays and one compiled kernel. The kernel serves the ids in groups: the whole
minibatch (`mode=batch`), or one id at a time (`mode=access`, in which an algorithm is exactly the published one). In
each group it

1. looks up all ids, and touches the hits in ascending order of their ids;
2. admits the misses in ascending order of their ids, until every slot holds a row of this group. Misses beyond that are
   bypassed: they are fetched, used, and not kept.

A row of the current group is never evicted: a kernel that meets one passes it over, as its docstring says.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Setup, initial_ids
from sim.kernel import kernel
from traces.errors import InputError

Ids = NDArray[np.int32]


class Demand(Cache):
    """A cache that takes in what was missed, on its own rule.

    `rows` (universe, fields) has a record per cacheable row, its first field the slot or -1; `held` (capacity,) the row
    in each slot or -1; `state` are the numbers that the kernel carries on, the first of them the occupied rows.
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
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.state = np.zeros(8, np.int64)

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
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return int(self.state[0])


@kernel
def look_up(ids, start, stop, rows, hit_slots, missed_ids, missed):  # type: ignore[no-untyped-def]
    """Fill the hit slots of one group and append its misses to the first `missed` ones. Returns how many there are."""
    for i in range(start, stop):
        row = ids[i]
        slot = rows[row, 0]
        hit_slots[i] = slot
        missed_ids[missed] = row
        missed += slot < 0
    return missed
