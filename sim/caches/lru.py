"""Least recently used, without a linked list.

Every use of a row is appended to a log, and the row notes where its latest entry stands. Older entries are thereby
outdated and skipped when the tail of the log is read for a victim. A hit costs one write in the row's record and one
at the end of the log; a log that has reached its end is squeezed, which is one step per entry since the last time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids

SLOT, PLACE = 0, 1  # a row's record


class LRU(Demand):
    """Evicts the row that was used longest ago. Used in the same minibatch: the lower id counts as the earlier."""

    summary = "demand cache: evicts the row that was used longest ago"
    source = "Mattson et al., IBM Systems Journal 9(2), 1970"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.log = np.zeros(3 * self.capacity_rows + 64, np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_lru(
            ids, self.single, self.rows, self.held, self.log, self.state, hit_slots, inserted_ids, inserted_slots
        )


@njit(cache=True, nogil=True)
def serve_lru(ids, single, rows, held, log, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    occupied, tail, head = state[0], state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start = group * step
        missed, room = inserted, len(held)
        for i in range(start, start + step):
            row = ids[i]
            slot = rows[row, SLOT]
            hit_slots[i] = slot
            if slot < 0:
                inserted_ids[missed] = row
                missed += 1
                continue
            room -= 1
            if head == len(log):
                tail, head = squeeze(log, rows, tail)
            log[head] = row
            rows[row, PLACE] = head
            head += 1
        hits += len(held) - room
        for j in range(inserted, min(missed, inserted + room)):
            row = inserted_ids[j]
            if occupied < len(held):
                slot = occupied
                occupied += 1
            else:
                while rows[log[tail], PLACE] != tail:
                    tail += 1
                victim = log[tail]
                tail += 1
                slot = rows[victim, SLOT]
                rows[victim, SLOT] = -1
            if head == len(log):
                tail, head = squeeze(log, rows, tail)
            log[head] = row
            rows[row, PLACE] = head
            head += 1
            rows[row, SLOT] = slot
            held[slot] = row
            inserted_slots[j] = slot
        inserted = min(missed, inserted + room)
    state[0], state[1], state[2] = occupied, tail, head
    return hits, inserted


@njit(cache=True, nogil=True)
def squeeze(log, rows, tail):  # type: ignore[no-untyped-def]
    """Move the valid entries to the front of the log, in their order. Returns its new tail and head."""
    head = 0
    for place in range(tail, len(log)):
        row = log[place]
        if rows[row, PLACE] == place:
            log[head] = row
            rows[row, PLACE] = head
            head += 1
    return 0, head
