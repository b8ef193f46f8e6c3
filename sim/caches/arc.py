"""ARC: adaptive replacement between recency and frequency."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, look_up
from sim.caches.queues import PLACE, SIZE, append, empty_queues, oldest, remove
from sim.compiled import kernel, part

ONCE, OFTEN, GHOST_ONCE, GHOST_OFTEN = 0, 1, 2, 3  # T1, T2, B1, B2 in the paper


class ARC(Demand):
    """Keeps rows used once (T1) and more often (T2) in two LRU lists whose share adapts to what ghosts are asked for.

    A list whose oldest row is of the current minibatch holds only such rows, and leaves the eviction to the other.
    """

    summary = "demand: two LRU lists, used once and more often, balanced by hits on what was evicted"
    source = "Megiddo and Modha, ARC: A Self-Tuning, Low Overhead Replacement Cache, FAST 2003"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 4, setup)
        self.logs, self.ends = empty_queues(4, self.capacity_rows)
        self.target = np.zeros(1)  # p in the paper: the size that T1 should have
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_arc(
            ids, self.single, self.rows, self.capacity_rows, self.logs, self.ends, self.target, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_arc(ids, single, rows, capacity, logs, ends, target, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    now = state[1]
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now, rows, hit_slots, inserted_ids, inserted)
        for i in range(start, stop):
            if hit_slots[i] >= 0:
                remove(rows[ids[i], PLACE] // logs.shape[1], ids[i], rows, ends)
                append(OFTEN, ids[i], rows, logs, ends)
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + capacity - found)
        for j in range(inserted, last):
            row = inserted_ids[j]
            ghost = adapt(row, capacity, rows, ends, target, logs.shape[1])
            if state[0] < capacity:
                slot = state[0]
                state[0] += 1
            else:
                victim = evict(ghost, now, capacity, rows, logs, ends, target)
                slot = rows[victim, SLOT]
                rows[victim, SLOT] = -1
            append(ONCE if ghost < 0 else OFTEN, row, rows, logs, ends)
            rows[row, SLOT] = slot
            inserted_slots[j] = slot
        inserted = last
        now += 1
    state[1] = now
    return hits, inserted


@part
def adapt(row, capacity, rows, ends, target, length):  # type: ignore[no-untyped-def]
    """Where a missed row is a ghost, move the target towards its list and forget it. Returns its list or -1."""
    if rows[row, PLACE] < 0:
        return -1
    once, often = ends[GHOST_ONCE, SIZE], ends[GHOST_OFTEN, SIZE]
    ghost = rows[row, PLACE] // length
    if ghost == GHOST_ONCE:
        target[0] = min(capacity, target[0] + max(1.0, often / once))
    else:
        target[0] = max(0.0, target[0] - max(1.0, once / often))
    remove(ghost, row, rows, ends)
    return ghost


@kernel
def evict(ghost, now, capacity, rows, logs, ends, target):  # type: ignore[no-untyped-def]
    """Take a row out of T1 or T2, for one that comes from the list `ghost` or from nowhere (-1). Returns it."""
    once = ends[ONCE, SIZE]
    if ghost < 0:
        if once == capacity:
            return forget(ONCE, rows, logs, ends)
        if once + ends[GHOST_ONCE, SIZE] == capacity:
            forget(GHOST_ONCE, rows, logs, ends)
        elif ends[:, SIZE].sum() == 2 * capacity:
            forget(GHOST_OFTEN, rows, logs, ends)
    from_once = once > 0 and (once > target[0] or (ghost == GHOST_OFTEN and once == target[0]))
    # The rows of this group are the last of their lists.
    if from_once and rows[oldest(ONCE, rows, logs, ends), USED] == now:
        from_once = False
    elif not from_once and (ends[OFTEN, SIZE] == 0 or rows[oldest(OFTEN, rows, logs, ends), USED] == now):
        from_once = True
    row = forget(ONCE if from_once else OFTEN, rows, logs, ends)
    append(GHOST_ONCE if from_once else GHOST_OFTEN, row, rows, logs, ends)
    return row


@part
def forget(queue, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Take the oldest row out of a queue. Returns it."""
    row = oldest(queue, rows, logs, ends)
    remove(queue, row, rows, ends)
    return row
