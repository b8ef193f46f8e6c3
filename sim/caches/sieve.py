"""SIEVE: a hand that moves from the oldest to the newest row, and sifts."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, fill, look_up, put
from sim.compiled import kernel, part


class Sieve(Demand):
    """Evicts the first row that was not used since the hand last came by; rows keep their place in the order.

    The order of arrival is a log. The rows that the hand passes over move up to those that it passed over before, so
    evicted rows leave no gaps but one, before the hand. A row of the current minibatch that the hand meets loses its
    mark and is passed over.
    """

    summary = "demand: FIFO order, a moving hand evicts what was not used since it came by"
    source = "Zhang et al., SIEVE is Simpler than LRU, NSDI 2024"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 2, setup)
        self.log = np.empty(4 * self.capacity_rows, np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_sieve(
            ids, self.single, self.rows, self.capacity_rows, self.log, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_sieve(ids, single, rows, capacity, log, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    # In the log, rows that the hand has passed over end at `passed`; those from `hand` to `head` are before it.
    # The groups are even numbers, odd in the record of a row that was hit since the hand came by.
    passed, hand, head, now = state[1], state[2], state[3], state[4]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now + 1, rows, hit_slots, inserted_ids, inserted)
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + capacity - found)
        if missed == inserted:  # one guess for all loops below, which matters where a group is one id
            now += 2
            continue
        j, came = fill(inserted, last, capacity, state, inserted_slots), hand
        while j < last:
            if hand == head:
                passed, came, hand, head = 0, 0, 0, close_gaps(log, passed, came, hand)
            row = log[hand]
            slot, used = rows[row, SLOT], rows[row, USED]
            goes = (used & 1 == 0) & (used != now)
            rows[row, SLOT], rows[row, USED] = -1 if goes else slot, used & ~1
            log[hand] = -1 if goes else row
            inserted_slots[j] = slot
            j += goes
            hand += 1
        passed = close_gaps(log, passed, came, hand)
        # From the newest row the hand goes back to the oldest, but for rows that came in before the last one went.
        if hand == head and last - inserted <= 1:
            passed, hand, head = 0, 0, passed
        if head + last - inserted > len(log):
            hand, head = passed, close_gaps(log, passed, hand, head)
        for j in range(inserted, last):
            log[head] = inserted_ids[j]
            head += 1
        put(inserted_ids, inserted_slots, inserted, last, now, rows)
        inserted = last
        now += 2
    state[1], state[2], state[3], state[4] = passed, hand, head, now
    return hits, inserted


@part
def close_gaps(log, end, first, last):  # type: ignore[no-untyped-def]
    """Move the rows from `first` to `last` of the log to its `end`. Returns where they end."""
    for place in range(first, last):
        row = log[place]
        log[end] = row
        end += row >= 0
    return end
