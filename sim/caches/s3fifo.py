"""S3-FIFO: three FIFO queues."""

from __future__ import annotations

from sim.caches.cache import Setup
from sim.caches.demand import Demand, Ids, look_up
from sim.caches.queues import PLACE, SIZE, SLOT, append, empty_queues, oldest, remove, touch
from sim.kernel import kernel, part

COUNT, USED = 2, 3  # further fields of a row's record: hits, 3 at most; the group that last asked for the row
SMALL, MAIN, GHOST = 0, 1, 2


class S3FIFO(Demand):
    """New rows go through a small queue of a tenth of the slots; those hit twice there move to the main queue.

    The main queue gives a row that was hit another round for each hit, three at most. Rows that the small queue evicts
    are remembered in a ghost queue of nine tenths of the capacity; one that is asked for again goes to the main queue.
    As long as there are free slots, what the small queue has no room for goes straight to the main queue.

    A row of the current minibatch is passed over: it goes to the end of its queue. A queue that holds only such rows
    leaves the eviction to the other.
    """

    summary = "demand: a small queue filters rows used once, the main queue gives used rows another round"
    source = "Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP 2023"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 4, setup)
        self.logs, self.ends = empty_queues(3, self.capacity_rows)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_s3fifo(
            ids, self.single, self.rows, self.held, self.logs, self.ends, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_s3fifo(ids, single, rows, held, logs, ends, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    now = state[1]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, rows, hit_slots, inserted_ids, inserted)
        busy_main = 0  # rows of this group in the main queue
        for i in range(start, stop):
            # Also of misses, without a branch: a row that comes in is counted anew.
            row = ids[i]
            rows[row, COUNT] = min(rows[row, COUNT] + 1, 3)
            rows[row, USED] = now
            busy_main += (hit_slots[i] >= 0) & (rows[row, PLACE] >= logs.shape[1])
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + len(held) - found)
        busy_small = found - busy_main
        for j in range(inserted, last):
            row = inserted_ids[j]
            to_main = rows[row, PLACE] >= 0
            if to_main:
                remove(GHOST, row, rows, ends)
            if state[0] < len(held):
                slot = state[0]
                state[0] += 1
                to_main = ends[SMALL, SIZE] >= max(len(held) // 10, 1)
            else:
                victim, busy_small, busy_main = evict(now, busy_small, busy_main, len(held), rows, logs, ends)
                slot = rows[victim, SLOT]
                rows[victim, SLOT] = -1
            append(MAIN if to_main else SMALL, row, rows, logs, ends)
            busy_main += to_main
            busy_small += not to_main
            rows[row, SLOT], rows[row, COUNT], rows[row, USED] = slot, 0, now
            held[slot] = row
            inserted_slots[j] = slot
        inserted = last
        now += 1
    state[1] = now
    return hits, inserted


@kernel
def evict(now, busy_small, busy_main, capacity, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Take a row out of its queue. Returns it, and how many rows of this group are in the small and the main queue."""
    if ends[SMALL, SIZE] >= max(capacity // 10, 1) or busy_main == ends[MAIN, SIZE]:
        while busy_small < ends[SMALL, SIZE]:
            row = oldest(SMALL, rows, logs, ends)
            busy = rows[row, USED] == now
            if rows[row, COUNT] > 1:
                remove(SMALL, row, rows, ends)
                append(MAIN, row, rows, logs, ends)
                rows[row, COUNT] = 0
                busy_small -= busy
                busy_main += busy
            elif busy:
                touch(SMALL, row, rows, logs, ends)
            else:
                remove(SMALL, row, rows, ends)
                remember(row, capacity, rows, logs, ends)
                return row, busy_small, busy_main
    while True:
        row = oldest(MAIN, rows, logs, ends)
        if rows[row, COUNT] == 0 and rows[row, USED] != now:
            remove(MAIN, row, rows, ends)
            return row, busy_small, busy_main
        rows[row, COUNT] = max(rows[row, COUNT] - 1, 0)
        touch(MAIN, row, rows, logs, ends)


@part
def remember(row, capacity, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Put a row at the end of the ghost queue, which forgets its oldest when it is full."""
    most = capacity * 9 // 10
    if ends[GHOST, SIZE] >= most and most > 0:
        remove(GHOST, oldest(GHOST, rows, logs, ends), rows, ends)
    if most > 0:
        append(GHOST, row, rows, logs, ends)
