"""Belady's MIN over minibatches: the fewest rows that any policy can fetch.

A row that is kept from one use to its next saves one fetch and holds a slot for the minibatches between. Keeping, of
all rows at hand, those that are used again soonest saves the most: the interval scheduling argument. Nothing is gained
by fetching a row before it is asked for, so no policy, managed or not, whatever it starts with, fetches fewer rows.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sim.caches.buckets import clear, empty_tree, furthest, pop, push, push_if
from sim.caches.cache import Setup, constant, known_future
from sim.caches.demand import SLOT, Demand, Ids
from sim.compiled import kernel, part
from traces.errors import InputError

LINK = 1  # of a row's record: the next row of its bucket
PENDING = -2  # the slot of a row that is kept but has no slot yet


class MIN(Demand):
    """Keeps, after each minibatch, those of the held and the missed rows that are used again soonest.

    It starts empty, and bypasses rows that it would evict first. In `mode=access` it is Belady's paging algorithm as
    published, which must take every missed row in.
    """

    takes_init = False
    live = False
    summary = "bound: keeps the rows that are used again soonest, knowing the future"
    source = "Belady, IBM Systems Journal 5(2), 1966; with bypass"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        """Raises `InputError` where `setup.future` is None."""
        super().__init__(mode, 2, setup)
        self.future = known_future(setup, "min")
        groups = len(self.future.ids) if self.single else self.future.minibatches
        offsets = np.arange(groups + 1, dtype=np.int64) if self.single else self.future.offsets
        self.next_use = constant(next_uses(self.future.ids, offsets, np.full(setup.universe.rows, groups, np.int32)))
        self.first = np.full(groups + 1, -1, np.int32)
        self.free = free_slots(self.capacity_rows)
        self.tree, levels = empty_tree(groups + 1)
        self.levels = constant(levels)
        self.position = 0

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        span = slice(self.position, self.position + len(ids))
        if not np.array_equal(ids, self.future.ids[span]):
            raise InputError("min was asked for other rows than those of Setup.future: give it the stream of this run")
        self.position = span.stop
        return serve_min(
            ids, self.single, self.next_use[span], self.rows, self.capacity_rows, self.first, self.rows[:, LINK],
            self.tree, self.levels, self.free, self.state, hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


def free_slots(capacity_rows: int) -> Ids:
    """All slots, as a stack that begins with the last one, and room for one more."""
    return np.arange(capacity_rows - 1, -2, -1, dtype=np.int32)


@njit(cache=True, nogil=True)
def next_uses(ids, offsets, latest):  # type: ignore[no-untyped-def]
    """For every access, the group (int32) of the row's next use. `latest` holds what stands for never, and is spent."""
    found = np.empty(len(ids), np.int32)
    for group in range(len(offsets) - 2, -1, -1):
        for i in range(offsets[group], offsets[group + 1]):
            found[i] = latest[ids[i]]
            latest[ids[i]] = group
    return found


@kernel
def serve_min(  # type: ignore[no-untyped-def]
    ids, single, next_use, rows, capacity, first, link, tree, levels, free, state,
    hit_slots, inserted_ids, inserted_slots,
):  # fmt: skip
    now, never = state[1], len(first) - 1
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        # Held rows whose next use is now are this group's hits, all of them: they leave their bucket together.
        if first[now] >= 0:
            clear(now, first, tree, levels)
        missed = inserted
        for i in range(group * step, group * step + step):
            row, use = ids[i], next_use[i]
            slot = rows[row, SLOT]
            hit_slots[i] = slot
            hits += slot >= 0
            push_if(slot >= 0, row, use, first, link, tree, levels)
            inserted_ids[missed] = row
            inserted_slots[missed] = use
            missed += (slot < 0) & (single | (use < never))
        kept, last = state[0], -1
        for j in range(inserted, missed):
            row, use = inserted_ids[j], inserted_slots[j]
            if kept < capacity:
                kept += 1
            else:
                if last < 0 or first[last] < 0:
                    last = furthest(tree, levels)
                if use >= last and not single:
                    continue
                drop(pop(last, first, link, tree, levels), rows, capacity, free, state)
                last = max(last, use)
            push(row, use, first, link, tree, levels)
            rows[row, SLOT] = PENDING
        inserted = settle(inserted, missed, rows, capacity, free, state, inserted_ids, inserted_slots)
        now += 1
    state[1] = now
    return hits, inserted


@kernel
def drop(row, rows, capacity, free, state):  # type: ignore[no-untyped-def]
    """Give up a row, held or pending."""
    # Without a branch: of a pending row, which has no slot, the next one that is freed takes the place.
    slot = rows[row, SLOT]
    free[capacity - state[0]] = slot
    state[0] -= slot >= 0
    rows[row, SLOT] = -1


@part
def settle(inserted, missed, rows, capacity, free, state, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    """Give slots to those of the missed rows that are still pending. Returns the number of inserted rows."""
    first, left = inserted, capacity - state[0]
    for j in range(first, missed):
        row = inserted_ids[j]
        pending = rows[row, SLOT] == PENDING
        slot = free[left - 1]
        rows[row, SLOT] = slot if pending else -1
        inserted_ids[inserted] = row
        inserted_slots[inserted] = slot
        inserted += pending
        left -= pending
    state[0] = capacity - left
    return inserted
