"""Least recently used."""

from __future__ import annotations

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.caches.queues import SLOT, append_all, empty_queues, make_room, take_oldest, touch_hits
from sim.kernel import kernel


class LRU(Demand):
    """Evicts the row that was used longest ago. Used in the same minibatch: the lower id counts as the earlier."""

    summary = "demand: evicts the row that was used longest ago"
    source = "Mattson et al., IBM Systems Journal 9(2), 1970"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.logs, self.ends = empty_queues(1, self.capacity_rows)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_lru(
            ids, self.single, self.rows, self.held, self.logs, self.ends, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_lru(ids, single, rows, held, logs, ends, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    capacity, occupied = len(held), state[0]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, rows, hit_slots, inserted_ids, inserted)
        make_room(0, capacity, rows, logs, ends)
        found = touch_hits(0, ids, start, stop, rows, logs, ends, hit_slots)
        hits += found
        last = min(missed, inserted + capacity - found)
        free = min(last - inserted, capacity - occupied)
        for j in range(inserted, inserted + free):
            inserted_slots[j] = occupied
            occupied += 1
        # The victims stand in for their slots.
        take_oldest(0, inserted_slots, inserted + free, last, rows, logs, ends)
        for j in range(inserted + free, last):
            victim = inserted_slots[j]
            inserted_slots[j] = rows[victim, SLOT]
            rows[victim, SLOT] = -1
        append_all(0, inserted_ids, inserted, last, rows, logs, ends)
        for j in range(inserted, last):
            rows[inserted_ids[j], SLOT] = inserted_slots[j]
            held[inserted_slots[j]] = inserted_ids[j]
        inserted = last
    state[0] = occupied
    return hits, inserted
