"""What the managed buffers share: counting every access, and exchanging rows when a policy says so.

A minibatch costs O(its rows). A replacement looks at the rows that may come or go (`sim.caches.blocks`): O(rows that
it exchanges + (universe + capacity) / 16). It happens after the minibatch was counted, so a row that was just missed
can be taken in without fetching it again, and never evicts a row of the current minibatch.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.blocks import BELOW, LAST, NEVER, SLOT, WORTH, blocks, coming, exchange
from sim.caches.cache import Access, Cache, Setup, initial_ids
from sim.caches.demand import Ids

OCCUPIED, SEEN, STALE = 0, 1, 2  # the numbers in `state`; `exchange` leaves its own behind them
Keys = NDArray[np.int64]

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
        self.by_degree, self.rank = setup.universe.degree_order, setup.universe.degree_rank
        self.rows = np.zeros((universe_rows, fields), np.int32)
        self.rows[:, SLOT], self.rows[:, LAST] = -1, NEVER
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.ceilings = np.full(blocks(universe_rows), -1)
        self.state = np.zeros(6, np.int64)
        self.visited = 0  # the blocks of candidates that the last replacement took some of, at most
        self.now = -1
        initial = initial_ids(setup)
        self.held[: len(initial)] = initial
        self.rows[initial, SLOT] = np.arange(len(initial), dtype=np.int32)
        self.rows[initial, LAST] = -1
        self.state[OCCUPIED] = self.state[SEEN] = len(initial)

    @abstractmethod
    def _serve(self, ids: Ids, hit_slots: Ids, missed_ids: Ids) -> int:
        """Look up and count one minibatch; fills `hit_slots` and, from its start, `missed_ids`. Returns the hits."""

    @abstractmethod
    def _least(self) -> int:
        """A sort key that candidates must be above to replace any row."""

    @abstractmethod
    def _victims(self, worth: Keys) -> Ids:
        """The rows that candidates of this worth, which is in descending order, replace: the i-th goes for the i-th.

        They are stale, and this minibatch did not ask for them. None stands beyond the last that a candidate outranks.
        """

    @abstractmethod
    def _all_victims(self, worth: Ids) -> Ids:
        """All stale rows that this minibatch did not ask for, those first that go first by that `worth` (universe,)."""

    @abstractmethod
    def _exchanged(self, inserted: Ids, evicted: Ids) -> None:
        """Take note of rows that came and went."""

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        self.now += 1
        hit_slots, missed_ids = np.empty(len(ids), np.int32), np.empty(len(ids), np.int32)
        hits = self._serve(ids, hit_slots, missed_ids)
        if decision is None or not decision.replace:
            return Access(hit_slots, hits, _NONE, _NONE, 0)
        return Access(hit_slots, hits, *self._replace(decision))

    def _replace(self, decision: Decision) -> tuple[Ids, Ids, int]:
        """Exchange rows. Returns the inserted rows, their slots, and how many of them must be fetched."""
        budget = math.ceil(decision.share * self.stale_rows)
        room = self.capacity_rows - self.occupied_rows + budget
        if decision.ranking == "misses":
            candidates, worth, victims = self._best(room, budget)
            victim_worth = self.rows[victims, WORTH]
        else:
            by: Ids = -self.rank if decision.ranking == "degree" else self.rows[:, LAST]
            keys = self.keys((self.rows[:, SLOT] < 0) & (self.rows[:, LAST] > NEVER), by)
            candidates = self.rows_of(np.sort(keys)[: -room - 1 : -1])
            victims = self._all_victims(by)
            worth, victim_worth = by[candidates].astype(np.int64), by[victims]
        inserted, slots = np.empty((2, len(candidates)), np.int32)
        exchange(
            candidates, victims, budget, self.now, worth, victim_worth, self.rows, self.held, self.ceilings,
            inserted, slots, self.state,
        )  # fmt: skip
        count, gone, fetched = self.state[-3:].tolist()
        self._exchanged(inserted[:count], victims[:gone])
        return inserted[:count], slots[:count], fetched

    def _best(self, room: int, budget: int) -> tuple[Ids, Keys, Ids]:
        """The first candidates by `misses` and their worth, at most `room`, and the rows that they replace.

        All but the last few candidates, which may replace none, come in.
        """
        least = self._least() if room == budget else -1
        open_blocks = self.ceilings[self.ceilings > least]
        keys, visited = np.empty(len(self.rows) + 1, np.int64), 256 + self.visited * 5 // 4
        while True:
            all_visited = visited >= len(open_blocks)
            above = least if all_visited else np.partition(open_blocks, -visited)[-visited]
            best = np.sort(keys[: coming(self.rows, self.rank, self.ceilings, above, keys)])[: -room - 1 : -1]
            worth = best >> 32
            meeting = worth[room - budget :]
            victims = self._victims(meeting)
            if all_visited or len(best) == room or len(victims) < len(meeting):
                coming_in = best[: room - budget + len(victims)]
                self.visited = int(np.count_nonzero(open_blocks >= coming_in[-1])) if len(coming_in) else 0
                return self.rows_of(best), worth, victims
            visited *= 4

    def keys(self, listed: NDArray[np.bool_], worth: Ids) -> Keys:
        """Sort keys, as `sim.caches.blocks` has them, of some rows (universe,) by any worth (universe,)."""
        rows = np.flatnonzero(listed)
        return (worth[rows].astype(np.int64) << 32) | (BELOW - self.rank[rows].astype(np.int64))

    def rows_of(self, keys: Keys) -> Ids:
        """The rows that sort keys stand for."""
        return self.by_degree[BELOW - (keys & BELOW)]

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
