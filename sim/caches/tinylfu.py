"""W-TinyLFU: an LRU window before a main cache that admits only what is asked for more often than its victim."""

from __future__ import annotations

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids, look_up
from sim.caches.queues import PLACE, SIZE, append, empty_queues, oldest, remove, touch
from sim.compiled import kernel, part

COUNT, AGE = 3, 4  # further fields of a row's record: accesses, 15 at most; how often they were halved
WINDOW, PROBATION, PROTECTED = 0, 1, 2
NOW, SAMPLED, HALVED = 1, 2, 3  # numbers in `state`


class WTinyLFU(Demand):
    """A window of a hundredth of the slots; behind it a segmented LRU, four fifths of it protected.

    A row that leaves the window replaces the main cache's victim only if it was asked for more often. Accesses are
    counted up to 15 and halved once ten times the capacity were counted. Ids are dense, so each row has a counter of
    its own in place of the paper's sketch: what a sketch without collisions would say. There is no doorkeeper. In
    libCacheSim's, rows share counters and window hits are not counted, so its misses differ by up to a few per cent.

    Where the window is full of rows of the current minibatch, a missed row itself is the candidate, and is bypassed if
    it loses, or if the main cache's victim, too, is of this minibatch.
    """

    summary = "demand: a small LRU window, then only rows asked for more often than their victim"
    source = "Einziger, Friedman and Manes, TinyLFU, ACM Transactions on Storage 13(4), 2017"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 8, setup)
        self.rows[:, COUNT : AGE + 1] = 0
        self.logs, self.ends = empty_queues(3, self.capacity_rows)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_tinylfu(
            ids, self.single, self.rows, self.capacity_rows, self.logs, self.ends, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_tinylfu(ids, single, rows, capacity, logs, ends, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    now = state[NOW]
    window = max(capacity // 100, 1)
    protected = (capacity - window) * 4 // 5
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        start, stop = group * step, group * step + step
        missed = look_up(ids, start, stop, now, rows, hit_slots, inserted_ids, inserted)
        hits += step - (missed - inserted)
        for i in range(start, stop):
            count_access(ids[i], capacity, rows, state)
            if hit_slots[i] >= 0:
                promote(ids[i], protected, rows, logs, ends)
        for j in range(inserted, missed):
            row, queue = inserted_ids[j], WINDOW
            if ends[WINDOW, SIZE] >= window:
                leaving = oldest(WINDOW, rows, logs, ends)
                if state[0] < capacity:
                    remove(WINDOW, leaving, rows, ends)
                    append(PROBATION, leaving, rows, logs, ends)
            if state[0] < capacity:
                slot = state[0]
                state[0] += 1
            else:
                candidate = row if rows[leaving, USED] == now else leaving
                victim = main_victim(rows, logs, ends)
                wins = victim >= 0 and rows[victim, USED] != now
                wins = wins and frequency(candidate, rows, state) > frequency(victim, rows, state)
                if candidate == row:
                    if not wins:
                        continue
                    queue = PROBATION
                elif wins:
                    remove(WINDOW, leaving, rows, ends)
                    append(PROBATION, leaving, rows, logs, ends)
                gone = victim if wins else leaving
                remove(rows[gone, PLACE] // logs.shape[1], gone, rows, ends)
                slot = rows[gone, SLOT]
                rows[gone, SLOT] = -1
            append(queue, row, rows, logs, ends)
            rows[row, SLOT] = slot
            inserted_ids[inserted] = row
            inserted_slots[inserted] = slot
            inserted += 1
        now += 1
    state[NOW] = now
    return hits, inserted


@part
def count_access(row, capacity, rows, state):  # type: ignore[no-untyped-def]
    """Count one access, and age all counters when enough were counted."""
    rows[row, COUNT] = min(frequency(row, rows, state) + 1, 15)
    rows[row, AGE] = state[HALVED]
    state[SAMPLED] += 1
    if state[SAMPLED] >= 10 * capacity:
        state[SAMPLED] //= 2
        state[HALVED] += 1


@part
def frequency(row, rows, state):  # type: ignore[no-untyped-def]
    """The accesses to a row, halved as often as the counters were since it was counted last."""
    return rows[row, COUNT] >> min(state[HALVED] - rows[row, AGE], 4)


@part
def promote(row, protected, rows, logs, ends):  # type: ignore[no-untyped-def]
    """A hit: to the end of the window or, in the main cache, of the protected segment, which may push one out."""
    queue = rows[row, PLACE] // logs.shape[1]
    if queue != PROBATION:
        touch(queue, row, rows, logs, ends)
        return
    remove(PROBATION, row, rows, ends)
    append(PROTECTED, row, rows, logs, ends)
    if ends[PROTECTED, SIZE] > protected:
        demoted = oldest(PROTECTED, rows, logs, ends)
        remove(PROTECTED, demoted, rows, ends)
        append(PROBATION, demoted, rows, logs, ends)


@part
def main_victim(rows, logs, ends):  # type: ignore[no-untyped-def]
    """The row of the main cache that would go first, or -1 where it holds none."""
    for queue in (PROBATION, PROTECTED):
        if ends[queue, SIZE] > 0:
            return oldest(queue, rows, logs, ends)
    return -1
