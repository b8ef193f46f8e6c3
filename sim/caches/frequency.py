"""Buffers that are rebuilt from how often rows were asked for lately, when a policy says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.policy import Ranking
from sim.caches.cache import Setup
from sim.caches.demand import Ids
from sim.caches.kernel import kernel
from sim.caches.managed import COUNT, LAST, NEVER, SEEN, SLOT, Managed, sort_keys
from traces.errors import InputError

_LARGEST = 2.0**60  # of an access's weight, before all weights are scaled down; float32 ends at 2^127


class Rebuilt(Managed):
    """A managed buffer in which every row may go that this minibatch did not ask for, the worst of the ranking first.

    So a replacement with `share` 1 leaves it with the best rows, up to the rows of the current minibatch.
    """

    def _victims(self, worth: NDArray[np.int32]) -> Ids:
        keys = sort_keys(self.held[self.held >= 0], self.rows, worth, self.rank, False, self.now)
        return self.rows_of(np.sort(keys))

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
        super().__init__(3, setup)
        self.minibatches = minibatches
        self.recent: tuple[Ids, ...] = ()

    def _serve(self, ids: Ids, hit_slots: Ids) -> int:
        if len(self.recent) == self.minibatches:
            uncount(self.recent[0], self.rows)
            self.recent = self.recent[1:]
        self.recent = (*self.recent, ids.copy())
        return serve_counts(ids, self.now, self.rows, self.seen, self.state, hit_slots)


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
        super().__init__(3, setup)
        self.growth = 2.0 ** (1.0 / half_life)
        self.weight = 1.0
        self.weights = np.zeros(setup.universe.rows, np.float32)

    def _serve(self, ids: Ids, hit_slots: Ids) -> int:
        self.weight *= self.growth
        if self.weight > _LARGEST:
            self.weights *= np.float32(1.0 / self.weight)
            self.weight = 1.0
        return serve_weights(
            ids, self.now, np.float32(self.weight), self.weights, self.rows, self.seen, self.state, hit_slots
        )

    def _worth(self, ranking: Ranking) -> NDArray[np.int32]:
        # Floats that are not negative sort as the integers with the same bits do.
        return self.weights.view(np.int32) if ranking == "misses" else super()._worth(ranking)


@kernel
def serve_counts(ids, now, rows, seen, state, hit_slots):  # type: ignore[no-untyped-def]
    hits, listed = 0, state[SEEN]
    for i in range(len(ids)):
        row = ids[i]
        hit_slots[i] = rows[row, SLOT]
        hits += hit_slots[i] >= 0
        seen[listed] = row
        listed += rows[row, LAST] == NEVER
        rows[row, COUNT] += 1
        rows[row, LAST] = now
    state[SEEN] = listed
    return hits


@kernel
def serve_weights(ids, now, weight, weights, rows, seen, state, hit_slots):  # type: ignore[no-untyped-def]
    hits = serve_counts(ids, now, rows, seen, state, hit_slots)
    for i in range(len(ids)):
        weights[ids[i]] += weight
    return hits


@kernel
def uncount(ids, rows):  # type: ignore[no-untyped-def]
    """Take back one access of each row."""
    for i in range(len(ids)):
        rows[ids[i], COUNT] -= 1
