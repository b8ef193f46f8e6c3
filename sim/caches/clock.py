"""CLOCK, or second chance."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, fill, look_up, put
from sim.compiled import kernel


class Clock(Demand):
    """FIFO in which a row that was used since the hand last came by gets another round.

    A row of the current minibatch that the hand meets loses its mark and is passed over.
    """

    summary = "demand: FIFO in which a row that was used gets a second chance"
    source = "Corbato, MIT Project MAC, 1968"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.held = np.full(self.capacity_rows, -1, np.int32)  # the row in each slot
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_clock(ids, self.single, self.rows, self.held, self.state, hit_slots, inserted_ids, inserted_slots)


@kernel
def serve_clock(ids, single, rows, held, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    # The groups are even numbers, odd in the record of a row that was hit since the hand came by.
    hand, now = state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now + 1, rows, hit_slots, inserted_ids, inserted)
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        if missed == inserted:  # one guess for all loops below, which matters where a group is one id
            now += 2
            continue
        j = fill(inserted, last, len(held), state, inserted_slots)
        for new in range(inserted, j):
            held[inserted_slots[new]] = inserted_ids[new]  # the hand may come by
        while j < last:
            row = held[hand]
            slot, used = rows[row, SLOT], rows[row, USED]
            # The hand may come by a second time: then the slot's row is one that has gone already.
            goes = (slot >= 0) & (used & 1 == 0) & (used != now)
            rows[row, SLOT], rows[row, USED] = -1 if goes else slot, used & ~1
            inserted_slots[j] = hand
            j += goes
            hand = hand + 1 if hand + 1 < len(held) else 0
        put(inserted_ids, inserted_slots, inserted, last, now, rows)
        for j in range(inserted, last):
            held[inserted_slots[j]] = inserted_ids[j]
        inserted = last
        now += 2
    state[1], state[2] = hand, now
    return hits, inserted
