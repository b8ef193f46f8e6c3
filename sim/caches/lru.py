"""Least recently used."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, Demand, Ids, fill
from sim.compiled import kernel, part

PLACE = 1  # of a row's record: where in the log it stands


class LRU(Demand):
    """Evicts the row that was used longest ago. Used in the same minibatch: the lower id counts as the earlier.

    The order of use is a log of rows, a ring: to use a row again is to append it again. Its record notes the place of
    its latest entry, so an older one is known to be outdated and is passed over at the tail. A full log is squeezed.
    """

    summary = "demand: evicts the row that was used longest ago"
    source = "Mattson et al., IBM Systems Journal 9(2), 1970"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.log = np.zeros(2 ** (4 * self.capacity_rows + 64).bit_length(), np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_lru(
            ids,
            self.single,
            self.rows,
            self.capacity_rows,
            self.log,
            self.state,
            hit_slots,
            inserted_ids,
            inserted_slots,
        )


@kernel
def serve_lru(ids, single, rows, capacity, log, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    tail, head, around = state[1], state[2], len(log) - 1
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        if head - tail + capacity > len(log):
            head = squeeze(log, tail, head, rows)
        missed = inserted
        for i in range(group * step, group * step + step):
            row, place = ids[i], head & around
            slot = rows[row, SLOT]
            rows[row, PLACE] = place  # also of a miss, which has no entry yet
            log[place] = row
            head += slot >= 0
            hit_slots[i] = slot
            inserted_ids[missed] = row
            missed += slot < 0
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + capacity - found)
        j = fill(inserted, last, capacity, state, inserted_slots)
        while j < last:
            place = tail & around
            row = log[place]
            slot = rows[row, SLOT]
            goes = rows[row, PLACE] == place
            rows[row, SLOT] = -1 if goes else slot
            inserted_slots[j] = slot
            j += goes
            tail += 1
        for j in range(inserted, last):
            row, place = inserted_ids[j], head & around
            rows[row, SLOT], rows[row, PLACE] = inserted_slots[j], place
            log[place] = row
            head += 1
        inserted = last
    state[1], state[2] = tail, head
    return hits, inserted


@part
def squeeze(log, tail, head, rows):  # type: ignore[no-untyped-def]
    """Move the latest entry of every row to the tail of the log, in their order. Returns the new head."""
    around, front = len(log) - 1, tail
    for old in range(tail, head):
        row = log[old & around]
        latest = rows[row, PLACE] == old & around
        log[front & around] = row
        if latest:
            rows[row, PLACE] = front & around
        front += latest
    return front
