"""First in, first out."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, fill, look_up, put
from sim.compiled import kernel


class FIFO(Demand):
    """Evicts the row that came in first. The slots are a ring, in the order in which their rows came in.

    A row of the current minibatch that the hand of the ring meets is passed over: it keeps its slot for another round.
    """

    summary = "demand: evicts the row that came in first"
    source = "BGL, NSDI 2023 (as a feature cache)"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.held = np.full(self.capacity_rows, -1, np.int32)  # the row in each slot
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_fifo(ids, self.single, self.rows, self.held, self.state, hit_slots, inserted_ids, inserted_slots)


@kernel
def serve_fifo(ids, single, rows, held, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    hand, now = state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now, rows, hit_slots, inserted_ids, inserted)
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        if missed == inserted:  # one guess for all loops below, which matters where a group is one id
            now += 1
            continue
        j = fill(inserted, last, len(held), state, inserted_slots)
        while j < last:
            row = held[hand]
            goes = rows[row, USED] != now
            rows[row, SLOT] = -1 if goes else hand
            inserted_slots[j] = hand
            j += goes
            hand = hand + 1 if hand + 1 < len(held) else 0
        put(inserted_ids, inserted_slots, inserted, last, now, rows)
        for j in range(inserted, last):
            held[inserted_slots[j]] = inserted_ids[j]
        inserted = last
        now += 1
    state[1], state[2] = hand, now
    return hits, inserted
