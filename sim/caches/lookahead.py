"""MIN with a horizon: what a run can do that has sampled the next minibatches ahead."""

from __future__ import annotations

import numpy as np

from sim.caches.buckets import clear, empty_tree, furthest, pop, push
from sim.caches.cache import Setup, constant, initial_ids, known_future
from sim.caches.demand import SLOT, USED, Demand, Ids
from sim.caches.min import PENDING, drop, free_slots, next_uses, settle
from sim.caches.queues import PLACE, SIZE, append, empty_queues, oldest, remove
from sim.compiled import kernel
from traces.errors import InputError


class LookAhead(Demand):
    """Knows what the next `horizon` minibatches ask for, and keeps the rows that are used again soonest in them.

    Sampling never looks at the cache, so a run with seeded samplers knows its accesses as far ahead as it likes. Of
    rows that the horizon does not show, those used longest ago go first, and before all others; a missed row of that
    kind takes a free slot or the place of another such row of an earlier minibatch, or is bypassed. With a horizon of
    the whole run and an empty start it fetches as few rows as MIN. With any other start it may fetch more: what it is
    filled with is fetched whether it will be asked for or not.
    """

    summary = "bound: MIN that knows only the next minibatches, LRU beyond; MIN's rows if empty at first"
    source = "RapidGNN (seeded sampling, prefetch from known accesses); Belady, IBM Systems Journal 5(2), 1966"

    def __init__(self, horizon: int = 32, *, setup: Setup) -> None:
        """Raises `InputError` where `horizon` is below 1 or `setup.future` is None."""
        if horizon < 1:
            raise InputError(f"lookahead: horizon={horizon} counts minibatches: it must be at least 1")
        super().__init__("batch", 4, setup)
        self.future = known_future(setup, "lookahead")
        minibatches = self.future.minibatches
        self.horizon = min(horizon, minibatches)
        latest = np.full(setup.universe.rows, minibatches, np.int32)
        self.next_use = constant(next_uses(self.future.ids, self.future.offsets, latest))
        self.first_use = constant(latest)  # which is what next_uses leaves
        self.first = np.full(minibatches + 1, -1, np.int32)
        self.link = np.full(setup.universe.rows, -1, np.int32)
        self.free = free_slots(self.capacity_rows)
        self.tree, levels = empty_tree(minibatches + 1)
        self.levels = constant(levels)
        self.logs, self.ends = empty_queues(1, self.capacity_rows)
        self.served = 0
        self.warm_up(setup)

    def warm_up(self, setup: Setup) -> None:
        """Take in the initial rows, of which the first minibatches' are known; the worst of the others go first."""
        initial = initial_ids(setup)
        self.rows[initial, SLOT] = np.arange(len(initial), dtype=np.int32)
        self.state[0] = len(initial)
        uses = self.first_use[initial]
        place(initial[::-1], uses[::-1], self.horizon, self.rows, self.first, self.link, self.tree, self.levels,
              self.logs, self.ends)  # fmt: skip

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        now, offsets = self.served, self.future.offsets
        if not np.array_equal(ids, self.future.minibatch(now)):
            raise InputError("lookahead was asked for other rows than those of Setup.future: give it this run's stream")
        self.served += 1
        seen = min(now + self.horizon, self.future.minibatches - 1)
        shown = self.future.minibatch(seen) if seen == now + self.horizon else ids[:0]
        return serve_lookahead(
            ids, now, seen, self.next_use[offsets[now] : offsets[now + 1]], shown, self.rows, self.capacity_rows,
            self.first, self.link, self.tree, self.levels, self.free, self.logs, self.ends, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def place(ids, uses, before, rows, first, link, tree, levels, logs, ends):  # type: ignore[no-untyped-def]
    """Put held rows into the bucket of their next use, or where it is not known at the end of the queue."""
    for i in range(len(ids)):
        if uses[i] < before:
            push(ids[i], uses[i], first, link, tree, levels)
        else:
            append(0, ids[i], rows, logs, ends)


@kernel
def serve_lookahead(  # type: ignore[no-untyped-def]
    ids, now, seen, next_use, shown, rows, capacity, first, link, tree, levels, free, logs, ends, state,
    hit_slots, inserted_ids, inserted_slots,
):  # fmt: skip
    for i in range(len(shown)):
        # Rows in the queue have their next use beyond what was known: this is it.
        if rows[shown[i], SLOT] >= 0 and rows[shown[i], PLACE] >= 0:
            remove(0, shown[i], rows, ends)
            push(shown[i], seen, first, link, tree, levels)
    if first[now] >= 0:
        clear(now, first, tree, levels)
    known = hits = 0
    for i in range(len(ids)):
        row = ids[i]
        hit_slots[i] = rows[row, SLOT]
        if hit_slots[i] >= 0:
            hits += 1
            rows[row, USED] = now
            if next_use[i] <= seen:
                push(row, next_use[i], first, link, tree, levels)
            else:
                append(0, row, rows, logs, ends)
        elif next_use[i] <= seen:
            inserted_ids[known] = row
            inserted_slots[known] = next_use[i]
            known += 1
    kept = state[0]
    for j in range(known):
        row, use = inserted_ids[j], inserted_slots[j]
        if kept == capacity:
            if ends[0, SIZE] > 0:
                victim = oldest(0, rows, logs, ends)
                remove(0, victim, rows, ends)
            else:
                last = furthest(tree, levels)
                if use >= last:
                    continue
                victim = pop(last, first, link, tree, levels)
            drop(victim, rows, capacity, free, state)
            kept -= 1
        push(row, use, first, link, tree, levels)
        rows[row, SLOT] = PENDING
        kept += 1
    inserted = settle(0, known, rows, capacity, free, state, inserted_ids, inserted_slots)
    for i in range(len(ids)):
        if hit_slots[i] < 0 and next_use[i] > seen:
            if state[0] == capacity:
                if ends[0, SIZE] == 0:
                    break
                victim = oldest(0, rows, logs, ends)
                if rows[victim, USED] == now:
                    break
                remove(0, victim, rows, ends)
                drop(victim, rows, capacity, free, state)
            append(0, ids[i], rows, logs, ends)
            rows[ids[i], SLOT], rows[ids[i], USED] = PENDING, now
            inserted_ids[inserted] = ids[i]
            inserted = settle(inserted, inserted + 1, rows, capacity, free, state, inserted_ids, inserted_slots)
    return hits, inserted
