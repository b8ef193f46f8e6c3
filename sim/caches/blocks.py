"""Bounds that let a replacement look only where rows could be exchanged.

Rows are in blocks by their dense ids, slots by their numbers. `ceilings[block]` is at least the sort key of every row
of a block that could come in, `floors[block]` at most that of every row that could go. An access at most widens a
bound, in one step; a replacement visits the blocks whose bounds say that they may matter, and makes them exact again.

The sort key of a row is its worth in the upper half of an int64 and, negated, its rank by degree in the lower: of two
rows worth as much the one of higher degree has the larger key, and the rank says which row it is.
"""

from __future__ import annotations

import numpy as np

from sim.compiled import kernel, part

SLOT, WORTH, LAST = 0, 1, 2  # a row's record: its slot or -1, its worth, the minibatch of its last access
NEVER = -2  # LAST of a row that was neither held at first nor asked for
NOTHING = 0x7F800000 << 32  # the floor of a block that holds nothing; as float32, that worth is infinite
SHIFT = 4
SIZE = 1 << SHIFT  # rows or slots in a block
BELOW = 0xFFFFFFFF  # the lower half of a key


def blocks(length: int) -> int:
    """How many blocks so many rows or slots make."""
    return -(-length // SIZE)


@kernel
def key(worth, rank):  # type: ignore[no-untyped-def]
    """The sort key of a row."""
    return (np.int64(worth) << 32) | (BELOW - np.int64(rank))


@part
def raise_ceilings(listed, count, rows, ceilings):  # type: ignore[no-untyped-def]
    """Let the ceilings know what the first so many rows are worth, which are not held."""
    for i in range(count):
        block = listed[i] >> SHIFT  # as `// SIZE`, which would ask for the sign
        ceilings[block] = max(ceilings[block], key(rows[listed[i], WORTH], 0))


@kernel
def coming(rows, rank, ceilings, above, keys):  # type: ignore[no-untyped-def]
    """Write the keys above a certain one of all rows that were seen and are not held. Returns how many there are."""
    count = 0
    for block in range(len(ceilings)):
        if ceilings[block] > above:
            highest = -1
            for row in range(block * SIZE, min(block * SIZE + SIZE, len(rows))):
                if (rows[row, SLOT] < 0) & (rows[row, LAST] > NEVER):
                    keys[count] = key(rows[row, WORTH], rank[row])
                    highest = max(highest, keys[count])
                    count += keys[count] > above
            ceilings[block] = highest
    return count


@kernel
def going(held, rows, rank, floors, below, now, keys):  # type: ignore[no-untyped-def]
    """Write the keys below a certain one of all held rows that were not asked for now. Returns how many there are."""
    count = 0
    for block in range(len(floors)):
        if floors[block] < below:
            lowest = NOTHING
            for slot in range(block * SIZE, min(block * SIZE + SIZE, len(held))):
                row = held[slot]
                if row >= 0:
                    keys[count] = key(rows[row, WORTH], rank[row])
                    lowest = min(lowest, keys[count])
                    count += (keys[count] < below) & (rows[row, LAST] < now)
            floors[block] = lowest
    return count


@kernel
def lower_floors(listed, rows, floors):  # type: ignore[no-untyped-def]
    """Let the floors know of rows that came in, or are worth less than before; of those that are not held, nothing."""
    for i in range(len(listed)):
        slot = rows[listed[i], SLOT]
        if slot >= 0:
            floors[slot // SIZE] = min(floors[slot // SIZE], np.int64(rows[listed[i], WORTH]) << 32)


@kernel
def exchange(candidates, victims, budget, now, worth, victim_worth, rows, held, ceilings, inserted, slots, state):  # type: ignore[no-untyped-def]
    """Put candidates, best first, into free slots, then into those of victims that they outrank.

    `worth` and `victim_worth` are those of candidates and victims, in their order, by the ranking that is to decide.
    The rows evicted replace the first of `victims`. The last three numbers of `state` become: rows inserted, rows
    evicted, and those of the inserted that must be fetched.
    """
    count = gone = next_victim = fetched = 0
    for i in range(len(candidates)):
        row = candidates[i]
        if state[0] < len(held):
            slot = state[0]  # slots are filled in their order, and never emptied
            state[0] += 1
        else:
            # A victim that this candidate does not outrank is safe from all that follow.
            while next_victim < len(victims) and victim_worth[next_victim] >= worth[i]:
                next_victim += 1
            if gone == budget or next_victim == len(victims):
                break
            victim = victims[next_victim]
            next_victim += 1
            slot = np.int64(rows[victim, SLOT])
            rows[victim, SLOT] = -1
            victims[gone] = victim
            gone += 1
        held[slot] = row
        rows[row, SLOT] = slot
        fetched += rows[row, LAST] < now
        inserted[count] = row
        slots[count] = slot
        count += 1
    raise_ceilings(victims, gone, rows, ceilings)
    state[-3], state[-2], state[-1] = count, gone, fetched
