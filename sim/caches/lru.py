"""Least recently used."""

from __future__ import annotations

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.caches.kernel import kernel
from sim.caches.queues import SLOT, append, empty_queues, oldest, remove, touch


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
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, rows, hit_slots, inserted_ids, inserted)
        for i in range(start, stop):
            if hit_slots[i] >= 0:
                touch(0, ids[i], rows, logs, ends)
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        for j in range(inserted, last):
            row = inserted_ids[j]
            if state[0] < len(held):
                slot = state[0]
                state[0] += 1
            else:
                victim = oldest(0, rows, logs, ends)
                remove(0, victim, rows, ends)
                slot = rows[victim, SLOT]
                rows[victim, SLOT] = -1
            append(0, row, rows, logs, ends)
            rows[row, SLOT] = slot
            held[slot] = row
            inserted_slots[j] = slot
        inserted = last
    return hits, inserted
