"""First in, first out."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.kernel import kernel


class FIFO(Demand):
    """Evicts the row that came in first. The slots are a ring, in the order in which their rows came in.

    A row of the current minibatch that the hand of the ring meets is passed over: it keeps its slot for another round.
    """

    summary = "demand: evicts the row that came in first"
    source = "BGL, NSDI 2023 (as a feature cache)"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 1, setup)
        self.used = np.full(self.capacity_rows + 1, -1, np.int32)  # the group that last asked for the slot's row
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_fifo(
            ids, self.single, self.rows, self.held, self.used, self.state, hit_slots, inserted_ids, inserted_slots
        )


@kernel
def serve_fifo(ids, single, rows, held, used, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    occupied, hand, now = state[0], state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, rows, hit_slots, inserted_ids, inserted)
        for i in range(start, stop):
            used[hit_slots[i]] = now  # of a miss, slot -1: the last entry, which nobody reads
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        for j in range(inserted, last):
            while used[hand] == now:
                hand = hand + 1 if hand + 1 < len(held) else 0
            if held[hand] >= 0:
                rows[held[hand], 0] = -1
            else:
                occupied += 1
            used[hand] = now
            held[hand] = inserted_ids[j]
            rows[inserted_ids[j], 0] = hand
            inserted_slots[j] = hand
            hand = hand + 1 if hand + 1 < len(held) else 0
        inserted = last
        now += 1
    state[0], state[1], state[2] = occupied, hand, now
    return hits, inserted
