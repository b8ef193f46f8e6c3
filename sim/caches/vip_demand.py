"""Vertex inclusion probability on demand: no row is fetched but for a miss."""

from __future__ import annotations

import numpy as np

from sim.caches.buckets import empty_tree, furthest, pop, push
from sim.caches.cache import Setup, constant
from sim.caches.demand import SLOT, Demand, Ids, look_up
from sim.caches.min import PENDING, drop, free_slots, settle
from sim.caches.static import most_likely
from sim.compiled import kernel


class VIPDemand(Demand):
    """Keeps, after each minibatch, those of the held and the missed rows that are most likely to be sampled.

    It ends with the rows of `vip`, but each came in when it was missed, so nothing is fetched that was not asked for;
    and until the likeliest have been asked for, others use their slots. It starts empty whatever `Setup.init` says.
    """

    takes_init = False
    summary = "demand: of what was missed, the rows most likely to be sampled, by analysis of the graph"
    source = (
        "inclusion probabilities of SALIENT++, MLSys 2023, which admit as MIN (Belady, 1966) does; this project's own"
    )

    def __init__(self, *, setup: Setup) -> None:
        """Raises `InputError` where the trace has no inclusion probabilities."""
        super().__init__("batch", 2, setup)
        order = most_likely(setup, "vip-demand")
        place = np.empty_like(order)
        place[order] = np.arange(len(order), dtype=np.int32)
        self.place = constant(place)
        self.first = np.full(setup.universe.rows + 1, -1, np.int32)  # the held row in each place of the order, or -1
        self.link = np.empty(setup.universe.rows, np.int32)
        self.free = free_slots(self.capacity_rows)
        self.tree, levels = empty_tree(setup.universe.rows + 1)
        self.levels = constant(levels)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_vip_demand(
            ids, self.place, self.rows, self.capacity_rows, self.first, self.link, self.tree, self.levels,
            self.free, self.state, hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_vip_demand(  # type: ignore[no-untyped-def]
    ids, place, rows, capacity, first, link, tree, levels, free, state, hit_slots, inserted_ids, inserted_slots
):
    missed = look_up(ids, 0, len(ids), 0, rows, hit_slots, inserted_ids, 0)
    kept, last = state[0], -1
    for j in range(missed):
        row = inserted_ids[j]
        if kept < capacity:
            kept += 1
        else:
            if last < 0:
                last = furthest(tree, levels)
            if place[row] > last:
                continue
            drop(pop(last, first, link, tree, levels), rows, capacity, free, state)
            last = -1
        push(row, place[row], first, link, tree, levels)
        rows[row, SLOT] = PENDING
    return len(ids) - missed, settle(0, missed, rows, capacity, free, state, inserted_ids, inserted_slots)
