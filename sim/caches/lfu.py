"""Least frequently used."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, look_up
from sim.caches.rings import AFTER, alone, link_last, more_rings, unlink
from sim.compiled import kernel

COUNT = 2  # a further field of a row's record: how often it was used since it came in


class LFU(Demand):
    """Evicts the row that was used least often since it came in; of several, the one that got that far first.

    The slots whose rows were used f times are a doubly linked ring through node `capacity + f` of `links`. A row of the
    current minibatch is passed over.
    """

    summary = "demand: evicts the row that was used least often since it came in"
    source = "Shah, Mitra and Matani, An O(1) algorithm for implementing the LFU cache eviction scheme, 2010"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 4, setup)
        self.held = np.full(self.capacity_rows, -1, np.int32)  # the row in each slot
        self.links = alone(self.capacity_rows)
        self.counted = 0
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        # Each group uses a row once at most.
        self.counted += len(ids) if self.single else 1
        if self.capacity_rows + self.counted >= len(self.links):
            self.links = more_rings(self.links, self.capacity_rows + 2 * self.counted + 64 - len(self.links))
        return serve_lfu(
            ids, self.single, self.rows, self.held, self.links, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_lfu(ids, single, rows, held, links, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    occupied, least, now = state[0], state[1], state[2]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now, rows, hit_slots, inserted_ids, inserted)
        for i in range(start, stop):
            slot = hit_slots[i]
            if slot >= 0:
                ring = len(held) + rows[ids[i], COUNT]
                rows[ids[i], COUNT] += 1
                unlink(slot, links)
                link_last(slot, ring + 1, links)
                if ring == least and links[ring, AFTER] == ring:
                    least = ring + 1
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        for j in range(inserted, last):
            if occupied < len(held):
                slot = occupied
                occupied += 1
            else:
                # The rows of this group are the last of their rings: behind the first of them there are no others.
                slot = links[least, AFTER]
                while slot == least or rows[held[slot], USED] == now:
                    least += 1
                    slot = links[least, AFTER]
                unlink(slot, links)
                rows[held[slot], SLOT] = -1
            link_last(slot, len(held) + 1, links)
            held[slot] = inserted_ids[j]
            rows[inserted_ids[j], SLOT] = slot
            rows[inserted_ids[j], COUNT] = 1
            inserted_slots[j] = slot
        if last > inserted:
            least = len(held) + 1
        inserted = last
        now += 1
    state[0], state[1], state[2] = occupied, least, now
    return hits, inserted
