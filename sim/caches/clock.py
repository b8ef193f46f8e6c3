"""CLOCK, or second chance."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.kernel import kernel


class Clock(Demand):
    """FIFO in which a row that was used since the hand last came by gets another round.

    A row of the current minibatch that the hand meets loses its mark and is passed over.
    """

    summary = "demand: FIFO in which a row that was used gets a second chance"
    source = "Corbato, MIT Project MAC, 1968"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 1, setup)
        # Twice the group that last asked for the slot's row, plus 1 where it was hit since the hand came by.
        self.used = np.full(self.capacity_rows + 1, -2, np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_clock(
            ids, self.single, self.rows, self.held, self.used, self.state, hit_slots, inserted_ids, inserted_slots
        )


@kernel
def serve_clock(ids, single, rows, held, used, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    occupied, hand, now = state[0], state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, rows, hit_slots, inserted_ids, inserted)
        for i in range(start, stop):
            used[hit_slots[i]] = 2 * now + 1  # of a miss, slot -1: the last entry, which nobody reads
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        for j in range(inserted, last):
            while used[hand] & 1 or used[hand] == 2 * now:
                used[hand] &= ~1
                hand = hand + 1 if hand + 1 < len(held) else 0
            if held[hand] >= 0:
                rows[held[hand], 0] = -1
            else:
                occupied += 1
            used[hand] = 2 * now
            held[hand] = inserted_ids[j]
            rows[inserted_ids[j], 0] = hand
            inserted_slots[j] = hand
            hand = hand + 1 if hand + 1 < len(held) else 0
        inserted = last
        now += 1
    state[0], state[1], state[2] = occupied, hand, now
    return hits, inserted
