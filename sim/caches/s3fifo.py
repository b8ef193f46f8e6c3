"""S3-FIFO: three FIFO queues."""

from __future__ import annotations

import numpy as np

from sim.caches.cache import Setup
from sim.caches.demand import SLOT, USED, Demand, Ids
from sim.compiled import kernel, part

# Further fields of a row's record: hits, 3 at most; its place in the ghost queue, or one of the two below.
COUNT, GHOST = 2, 3
NO_GHOST, IN_MAIN = -1, -2
GHOSTS, TAIL, HEAD = 6, 7, 8  # numbers in `state`: how many ghosts there are, where their queue begins and ends


class S3FIFO(Demand):
    """New rows go through a small queue of a tenth of the slots; those hit twice there move to the main queue.

    The main queue gives a row that was hit another round for each hit, three at most. Rows that the small queue evicts
    are remembered in a ghost queue of nine tenths of the capacity; one that is asked for again goes to the main queue.
    As long as there are free slots, what the small queue has no room for goes straight to the main queue.

    A row of the current minibatch is passed over: it goes to the end of its queue. A queue that holds only such rows
    leaves the eviction to the other.

    The queues are rings. A ghost that is asked for leaves its place, which is known as outdated by the row's record.
    """

    summary = "demand: a small queue filters rows used once, the main queue gives used rows another round"
    source = "Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP 2023"

    def __init__(self, mode: str = "batch", *, setup: Setup) -> None:
        super().__init__(mode, 4, setup)
        self.rows[:, COUNT] = 0
        length = 2 ** self.capacity_rows.bit_length()
        self.small, self.main = np.zeros((2, length), np.int32)
        self.ghosts = np.zeros(2 * length, np.int32)
        self.warm_up(setup)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        return serve_s3fifo(
            ids, self.single, self.rows, self.capacity_rows, self.small, self.main, self.ghosts, self.state,
            hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip


@kernel
def serve_s3fifo(  # type: ignore[no-untyped-def]
    ids, single, rows, capacity, small, main, ghosts, state, hit_slots, inserted_ids, inserted_slots
):
    occupied, now = state[0], state[1]
    small_tail, small_head, main_tail, main_head = state[2], state[3], state[4], state[5]
    around = len(small) - 1
    most_small = max(capacity // 10, 1)
    groups, step = (len(ids), 1) if single else (1, len(ids))
    hits = inserted = 0
    for group in range(groups):
        missed = inserted
        busy_main = 0  # rows of this group in the main queue
        for i in range(group * step, group * step + step):
            row = ids[i]
            slot = rows[row, SLOT]
            rows[row, USED] = now
            rows[row, COUNT] = min(rows[row, COUNT] + 1, 3)  # of a miss, too: a row that comes in is counted anew
            busy_main += rows[row, GHOST] == IN_MAIN
            hit_slots[i] = slot
            inserted_ids[missed] = row
            missed += slot < 0
        found = step - (missed - inserted)
        hits += found
        last = min(missed, inserted + capacity - found)
        busy_small = found - busy_main
        for j in range(inserted, last):
            row = inserted_ids[j]
            to_main = rows[row, GHOST] >= 0
            state[GHOSTS] -= to_main
            rows[row, GHOST] = NO_GHOST
            if occupied < capacity:
                slot = occupied
                occupied += 1
                to_main |= small_head - small_tail >= most_small
            else:
                slot = -1
                if small_head - small_tail >= most_small or busy_main == main_head - main_tail:
                    while slot < 0 and busy_small < small_head - small_tail:
                        old = small[small_tail & around]
                        small_tail += 1
                        busy = rows[old, USED] == now
                        if rows[old, COUNT] > 1:
                            main[main_head & around] = old
                            main_head += 1
                            rows[old, COUNT], rows[old, GHOST] = 0, IN_MAIN
                            busy_small -= busy
                            busy_main += busy
                        elif busy:
                            small[small_head & around] = old
                            small_head += 1
                        else:
                            slot = rows[old, SLOT]
                            rows[old, SLOT] = -1
                            remember(old, capacity * 9 // 10, rows, ghosts, state)
                while slot < 0:
                    old = main[main_tail & around]
                    main_tail += 1
                    if rows[old, COUNT] == 0 and rows[old, USED] != now:
                        slot = rows[old, SLOT]
                        rows[old, SLOT], rows[old, GHOST] = -1, NO_GHOST
                    else:
                        rows[old, COUNT] = max(rows[old, COUNT] - 1, 0)
                        main[main_head & around] = old
                        main_head += 1
            # Without a branch: where a row is not put, the next one will be.
            small[small_head & around] = main[main_head & around] = row
            small_head += not to_main
            main_head += to_main
            busy_small += not to_main
            busy_main += to_main
            rows[row, SLOT], rows[row, COUNT], rows[row, GHOST] = slot, 0, IN_MAIN if to_main else NO_GHOST
            inserted_slots[j] = slot
        inserted = last
        now += 1
    state[0], state[1] = occupied, now
    state[2], state[3], state[4], state[5] = small_tail, small_head, main_tail, main_head
    return hits, inserted


@part
def remember(row, most, rows, ghosts, state):  # type: ignore[no-untyped-def]
    """Put a row at the end of the ghost queue, which forgets its oldest when it has the most that it may have."""
    around = len(ghosts) - 1
    if most == 0:
        return
    while state[GHOSTS] == most:
        place = state[TAIL] & around
        if rows[ghosts[place], GHOST] == place:
            rows[ghosts[place], GHOST] = NO_GHOST
            state[GHOSTS] -= 1
        state[TAIL] += 1
    if state[HEAD] - state[TAIL] == len(ghosts):
        squeeze(rows, ghosts, state)
    place = state[HEAD] & around
    ghosts[place] = row
    rows[row, GHOST] = place
    state[GHOSTS] += 1
    state[HEAD] += 1


@part
def squeeze(rows, ghosts, state):  # type: ignore[no-untyped-def]
    """Close the gaps that ghosts have left."""
    around, head = len(ghosts) - 1, state[TAIL]
    for place in range(state[TAIL], state[HEAD]):
        row = ghosts[place & around]
        if rows[row, GHOST] == place & around:
            ghosts[head & around] = row
            rows[row, GHOST] = head & around
            head += 1
    state[HEAD] = head
