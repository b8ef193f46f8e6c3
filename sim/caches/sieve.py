"""SIEVE: a hand that moves from the oldest to the newest row, and sifts."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.kernel import kernel, part


class Sieve(Demand):
    """Evicts the first row that was not used since the hand last came by; rows keep their place in the order.

    The order of arrival is a log of slots in which evicted rows leave gaps, squeezed when the log is full. A row of
    the current minibatch that the hand meets loses its mark and is passed over.
    """

    summary = "demand: FIFO order, a moving hand evicts what was not used since it came by"
    source = "Zhang et al., SIEVE is Simpler than LRU, NSDI 2024"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 1, setup)
        # Twice the group that last asked for the slot's row, plus 1 where it was hit since the hand came by.
        self.used = np.full(self.capacity_rows + 1, -2, np.int32)
        self.log = np.full(2 * self.capacity_rows + 64, -1, np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_sieve(
            ids, self.single, self.rows, self.held, self.used, self.log, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_sieve(ids, single, rows, held, used, log, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    occupied, hand, head, now = state[0], state[1], state[2], state[3]
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
            if occupied < len(held):
                slot = occupied
                occupied += 1
            else:
                slot = log[hand]
                while slot < 0 or used[slot] & 1 or used[slot] == 2 * now:
                    if slot >= 0:
                        used[slot] &= ~1
                    hand = hand + 1 if hand + 1 < head else 0
                    slot = log[hand]
                log[hand] = -1
                # From the newest row the hand goes back to the oldest, before the new row takes its place.
                hand = hand + 1 if hand + 1 < head else 0
                rows[held[slot], 0] = -1
            if head == len(log):
                hand, head = squeeze(log, hand)
            log[head] = slot
            head += 1
            used[slot] = 2 * now
            held[slot] = inserted_ids[j]
            rows[inserted_ids[j], 0] = slot
            inserted_slots[j] = slot
        inserted = last
        now += 1
    state[0], state[1], state[2], state[3] = occupied, hand, head, now
    return hits, inserted


@part
def squeeze(log, hand):  # type: ignore[no-untyped-def]
    """Close the gaps in a full log. Returns where the hand and the end of the log have moved to."""
    head = moved = 0
    for place in range(len(log)):
        if place == hand:
            moved = head
        if log[place] >= 0:
            log[head] = log[place]
            head += 1
    return (moved if moved < head else 0), head
