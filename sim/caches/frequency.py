"""Buffers that are rebuilt from how often rows were asked for lately, when a policy says so."""

from __future__ import annotations

import numpy as np

from sim.caches.blocks import BELOW, LAST, NEVER, NOTHING, SLOT, WORTH, blocks, going, lower_floors, raise_ceilings
from sim.caches.cache import Setup
from sim.caches.demand import Ids
from sim.caches.managed import SEEN, Keys, Managed
from sim.compiled import kernel
from traces.errors import InputError

_LARGEST = 2.0**60  # of an access's weight, before all weights are scaled down; float32 ends at 2^127


class Rebuilt(Managed):
    """A managed buffer in which every row may go that this minibatch did not ask for, the worst of the ranking first.

    So a replacement with `share` 1 leaves it with the best rows, up to the rows of the current minibatch.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(3, setup)
        self.floors = np.full(blocks(self.capacity_rows), NOTHING)
        self.visited_victims = 0  # the blocks of victims that the last replacement took some of, at most
        self._exchanged(self.held[: self.occupied_rows], self.held[:0])

    def _least(self) -> int:
        return int(self.floors.min()) | BELOW

    def _victims(self, worth: Keys) -> Ids:
        if len(worth) == 0:
            return np.empty(0, np.int32)
        # All rows below a certain key are found: if the candidate behind their number is not above it, no other goes.
        outranked = int(worth[0]) << 32
        open_blocks = self.floors[self.floors < outranked]
        keys, visited = np.empty(len(self.held) + 1, np.int64), 128 + self.visited_victims * 5 // 4
        while True:
            all_visited = visited >= len(open_blocks)
            below = outranked if all_visited else np.partition(open_blocks, visited)[visited]
            found = going(self.held, self.rows, self.rank, self.floors, below, self.now, keys)
            if all_visited or found >= len(worth) or worth[found] <= below >> 32:
                worst = np.sort(keys[:found])[: len(worth)]
                worst = worst[worst >> 32 < worth[: len(worst)]]
                self.visited_victims = int(np.count_nonzero(open_blocks <= worst[-1])) if len(worst) else 0
                return self.rows_of(worst)
            visited *= 4

    def _all_victims(self, worth: Ids) -> Ids:
        return self.rows_of(np.sort(self.keys((self.rows[:, SLOT] >= 0) & (self.rows[:, LAST] < self.now), worth)))

    def _exchanged(self, inserted: Ids, evicted: Ids) -> None:
        lower_floors(inserted, self.rows, self.floors)

    @property
    def stale_rows(self) -> int:
        """All held rows: any could go."""
        return self.occupied_rows


class Window(Rebuilt):
    """Ranks (`misses`) by the accesses of the last `minibatches` minibatches, hits and misses."""

    summary = "managed: rebuilt from the accesses of the last minibatches"
    source = "WLFU: Karakostas and Serpanos, Exploitation of Different Types of Locality for Web Caches, ISCC 2002"

    def __init__(self, minibatches: int = 100, *, setup: Setup) -> None:
        """Raises `InputError` where `minibatches` is below 1."""
        if minibatches < 1:
            raise InputError(f"window: minibatches={minibatches} must be at least 1")
        super().__init__(setup)
        self.minibatches = minibatches
        self.recent: tuple[Ids, ...] = ()

    def _serve(self, ids: Ids, hit_slots: Ids, missed_ids: Ids) -> int:
        if len(self.recent) == self.minibatches:
            uncount(self.recent[0], self.rows, self.floors, np.empty_like(self.recent[0]))
            self.recent = self.recent[1:]
        self.recent = (*self.recent, ids.copy())
        return serve_counts(ids, self.now, self.rows, self.ceilings, self.state, hit_slots, missed_ids)


class Frequency(Rebuilt):
    """Ranks (`misses`) by accesses that count for half as much every `half_life` minibatches.

    Instead of fading the past, the weight of an access grows by the same factor.
    """

    summary = "managed: rebuilt from all accesses, older ones counting less"
    source = "exponentially decayed frequency; Lee et al., LRFU, IEEE Transactions on Computers 50(12), 2001"

    def __init__(self, half_life: float = 500.0, *, setup: Setup) -> None:
        """Raises `InputError` where `half_life` is below 1."""
        if half_life < 1:
            raise InputError(f"frequency: half_life={half_life} counts minibatches: it must be at least 1")
        super().__init__(setup)
        self.growth = 2.0 ** (1.0 / half_life)
        self.weight = 1.0

    def _serve(self, ids: Ids, hit_slots: Ids, missed_ids: Ids) -> int:
        self.weight *= self.growth
        if self.weight > _LARGEST:
            # Bounds hold, because rounding keeps the order; a ceiling of -1 is not a number, and stays.
            ceilings, floors = (self.ceilings >> 32).astype(np.int32), (self.floors >> 32).astype(np.int32)
            for bits in (self.rows[:, WORTH], ceilings, floors):
                bits.view(np.float32)[:] *= np.float32(1.0 / self.weight)
            self.ceilings, self.floors = ceilings.astype(np.int64) << 32 | BELOW, floors.astype(np.int64) << 32
            self.weight = 1.0
        return serve_weights(
            ids, self.now, np.float32(self.weight), self.rows, self.rows.view(np.float32), self.ceilings, self.state,
            hit_slots, missed_ids,
        )  # fmt: skip


@kernel
def serve_counts(ids, now, rows, ceilings, state, hit_slots, missed_ids):  # type: ignore[no-untyped-def]
    missed = seen = 0
    for i in range(len(ids)):
        row = ids[i]
        slot = rows[row, SLOT]
        hit_slots[i] = slot
        seen += rows[row, LAST] == NEVER
        rows[row, LAST] = now
        rows[row, WORTH] += 1
        missed_ids[missed] = row
        missed += slot < 0
    raise_ceilings(missed_ids, missed, rows, ceilings)
    state[SEEN] += seen
    return len(ids) - missed


@kernel
def serve_weights(ids, now, weight, rows, weights, ceilings, state, hit_slots, missed_ids):  # type: ignore[no-untyped-def]
    """The same with floats, which `weights` shows; as they are not negative, the integers that `rows` shows of the same
    bits sort alike."""
    missed = seen = 0
    for i in range(len(ids)):
        row = ids[i]
        slot = rows[row, SLOT]
        hit_slots[i] = slot
        seen += rows[row, LAST] == NEVER
        rows[row, LAST] = now
        weights[row, WORTH] += weight
        missed_ids[missed] = row
        missed += slot < 0
    raise_ceilings(missed_ids, missed, rows, ceilings)
    state[SEEN] += seen
    return len(ids) - missed


@kernel
def uncount(ids, rows, floors, held_ids):  # type: ignore[no-untyped-def]
    """Take back one access of each row, and let the floors know. `held_ids` has room for the ids."""
    held = 0
    for i in range(len(ids)):
        row = ids[i]
        rows[row, WORTH] -= 1
        held_ids[held] = row
        held += rows[row, SLOT] >= 0
    lower_floors(held_ids[:held], rows, floors)
