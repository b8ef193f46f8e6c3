"""A buffer without limit: what no capacity can better."""

from __future__ import annotations

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, Demand, Ids
from sim.compiled import kernel


class Compulsory(Demand):
    """Keeps every row that was ever asked for: it fetches each once.

    It ignores the capacity and the initial rows: `capacity_rows` is the size of the universe, and the slot of a row is
    its dense id.
    """

    takes_init = False
    live = False
    summary = "bound: keeps every row that was asked for, whatever the capacity"
    source = "compulsory misses: Hill and Smith, IEEE Transactions on Computers 38(12), 1989"

    def __init__(self, *, setup: Setup) -> None:
        super().__init__("batch", 1, setup, capacity_rows=setup.universe.rows)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_compulsory(ids, self.rows, self.state, hit_slots, inserted_ids, inserted_slots)


@kernel
def serve_compulsory(ids, rows, state, hit_slots, inserted_ids, inserted_slots):  # type: ignore[no-untyped-def]
    inserted = 0
    for i in range(len(ids)):
        row = ids[i]
        hit_slots[i] = rows[row, SLOT]
        if rows[row, SLOT] < 0:
            rows[row, SLOT] = row
            inserted_ids[inserted] = row
            inserted_slots[inserted] = row
            inserted += 1
    state[0] += inserted
    return len(ids) - inserted, inserted
