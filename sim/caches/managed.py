"""What the managed buffers share: counting every access, and exchanging rows when a policy says so.

Between two replacements a minibatch costs O(its rows). A replacement looks once at every row that was seen so far and
sorts those that could come or go: O(seen rows). It happens after the minibatch was counted, so a row that was just
missed can be taken in without fetching it again, and never evicts a row of the current minibatch.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from numba import njit
from numpy.typing import NDArray

from agents.policy import Decision, Ranking
from sim.caches.cache import Access, Cache, Setup, constant, degree_order, initial_ids
from sim.caches.demand import Ids
from sim.caches.kernel import kernel

SLOT, COUNT, LAST = 0, 1, 2  # a row's record: its slot or -1, its accesses, the minibatch of the last one
NEVER = -2  # LAST of a row that was neither held at first nor asked for
OCCUPIED, SEEN = 0, 1  # the numbers in `state`
_BELOW = 0xFFFFFFFF  # the lower half of a sort key

_NONE = np.empty(0, np.int32)


class Managed(Cache):
    """A buffer that changes only when a decision says "replace".

    Candidates are all rows that were asked for and are not held, best first by the decision's ranking: by accesses
    (`misses`), by their latest use (`recent`), or by degree. Free slots take the first of them. Each of the others
    meets the victims, worst first, and takes the place of the first that it outranks: more accesses, used later, or of
    higher degree. At most `share` of the stale rows go. All ties are broken by local degree, then degree, then id.
    """

    managed = True

    def __init__(self, fields: int, setup: Setup) -> None:
        super().__init__(setup)
        universe_rows = setup.universe.rows
        order = degree_order(setup.universe)
        self.by_degree = constant(order)
        rank = np.empty(universe_rows, np.int32)
        rank[order] = np.arange(universe_rows, dtype=np.int32)
        self.rank = constant(rank)
        self.rows = np.zeros((universe_rows, fields), np.int32)
        self.rows[:, SLOT], self.rows[:, LAST] = -1, NEVER
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.seen = np.empty(universe_rows + 1, np.int32)  # one more, for a kernel that writes before it knows
        self.state = np.zeros(4, np.int64)
        self.now = -1
        initial = initial_ids(setup)
        self.held[: len(initial)] = initial
        self.rows[initial, SLOT] = np.arange(len(initial), dtype=np.int32)
        self.rows[initial, LAST] = -1
        self.seen[: len(initial)] = initial
        self.state[OCCUPIED] = self.state[SEEN] = len(initial)

    @abstractmethod
    def _serve(self, ids: Ids, hit_slots: Ids) -> int:
        """Look up and count one minibatch; fills `hit_slots`. Returns the number of hits."""

    @abstractmethod
    def _victims(self, worth: NDArray[np.int32]) -> Ids:
        """The stale rows that this minibatch did not ask for, those first that should go first."""

    def _worth(self, ranking: Ranking) -> NDArray[np.int32]:
        """What a ranking compares, for every row (universe,): higher is better."""
        if ranking == "degree":
            return -self.rank
        return self.rows[:, COUNT if ranking == "misses" else LAST]

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        self.now += 1
        hit_slots = np.empty(len(ids), np.int32)
        hits = self._serve(ids, hit_slots)
        if decision is None or not decision.replace:
            return Access(hit_slots, hits, _NONE, _NONE, 0)
        inserted, slots, _ = self._replace(decision)
        fetched = int(np.count_nonzero(self.rows[inserted, LAST] < self.now))
        return Access(hit_slots, hits, inserted, slots, fetched)

    def _replace(self, decision: Decision) -> tuple[Ids, Ids, Ids]:
        """Exchange rows. Returns the inserted rows, their slots, and the evicted rows."""
        budget = math.ceil(decision.share * self.stale_rows)
        worth = self._worth(decision.ranking)
        seen = self.seen[: self.state[SEEN]]
        keys = sort_keys(seen, self.rows, worth, self.rank, True, self.now + 1)
        wanted = min(len(keys), self.capacity_rows - self.occupied_rows + budget)
        if 0 < wanted < len(keys):
            keys.partition(len(keys) - wanted)
        candidates = self.rows_of(np.sort(keys[len(keys) - wanted :])[::-1])
        inserted, slots = np.empty(wanted, np.int32), np.empty(wanted, np.int32)
        evicted = np.empty(wanted, np.int32)
        count, gone = exchange(
            candidates, self._victims(worth), budget, worth, self.rows, self.held, self.state, inserted, slots, evicted
        )
        return inserted[:count], slots[:count], evicted[:gone]

    def rows_of(self, keys: NDArray[np.int64]) -> Ids:
        """The rows that sort keys stand for."""
        return self.by_degree[_BELOW - (keys & _BELOW)]

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return int(self.state[OCCUPIED])

    @property
    def candidate_rows(self) -> int:
        """Rows that were seen and are not held."""
        return int(self.state[SEEN] - self.state[OCCUPIED])


@njit(cache=True, nogil=True)
def sort_keys(listed, rows, worth, rank, missing, before):  # type: ignore[no-untyped-def]
    """An int64 for each listed row that is not held (`missing`) or held, and was last used before that minibatch.

    They sort as the rows do: by worth, then by degree rank, which also says which row it is.
    """
    keys = np.empty(len(listed), np.int64)
    count = 0
    for row in listed:
        # Written in any case: whether it stays is a coin flip, which a branch would cost more.
        keys[count] = (np.int64(worth[row]) << 32) | (_BELOW - rank[row])
        count += ((rows[row, SLOT] < 0) == missing) & (rows[row, LAST] < before)
    return keys[:count]


@kernel
def exchange(candidates, victims, budget, worth, rows, held, state, inserted, slots, evicted):  # type: ignore[no-untyped-def]
    """Put candidates, best first, into free slots, then into those of victims that they outrank."""
    count = gone = next_victim = next_slot = 0
    for row in candidates:
        if state[OCCUPIED] < len(held):
            while held[next_slot] >= 0:
                next_slot += 1
            slot = next_slot
            state[OCCUPIED] += 1
        else:
            # A victim that this candidate does not outrank is safe from all that follow.
            while next_victim < len(victims) and worth[victims[next_victim]] >= worth[row]:
                next_victim += 1
            if gone == budget or next_victim == len(victims):
                break
            victim = victims[next_victim]
            next_victim += 1
            slot = rows[victim, SLOT]
            rows[victim, SLOT] = -1
            evicted[gone] = victim
            gone += 1
        held[slot] = row
        rows[row, SLOT] = slot
        inserted[count] = row
        slots[count] = slot
        count += 1
    return count, gone
