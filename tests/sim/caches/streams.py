"""Small streams and set-ups that the cache tests share."""

import numpy as np

from agents.policy import Decision
from sim.caches.cache import Cache, Setup
from sim.workload.stream import Stream, Universe

REPLACE = Decision(replace=True)


def universe(rows, vip=None):
    """Degrees go up and down with the id, with ties."""
    degrees = np.arange(rows) * 7 % rows // 2 + 1
    return Universe("halo", np.arange(rows) * 3, degrees, degrees, vip)


def stream(minibatches, rows, vip=None):
    ids = [np.array(sorted(m), np.int32) for m in minibatches]
    counts = np.array([len(m) for m in ids])
    offsets = np.concatenate(([0], np.cumsum(counts)))
    return Stream(universe(rows, vip), np.concatenate([np.empty(0, np.int32), *ids]), offsets, counts, counts)


def skewed(minibatches, size, rows, seed=0, drift=0):
    """Minibatches of distinct rows drawn with Zipf's law over a random order that drifts by `drift` rows each."""
    random = np.random.default_rng(seed)
    order = random.permutation(rows)
    weights = 1 / np.arange(1, rows + 1) ** 0.9
    weights /= weights.sum()
    drawn = [
        np.roll(order, drift * m)[random.choice(rows, size=size, replace=False, p=weights)] for m in range(minibatches)
    ]
    return stream(drawn, rows)


def setup(capacity, stream, init="empty", seed=(0,), epoch=10, future=True):
    return Setup(
        capacity_rows=capacity,
        universe=stream.universe,
        init=init,
        seed=seed,
        minibatches_per_epoch=epoch,
        future=stream if future else None,
    )


def run(cache: Cache, stream: Stream, replace=lambda minibatch: False):
    """Hits and fetched rows of a whole run, the initial rows included."""
    hits, fetched = 0, cache.occupied_rows
    for m in range(stream.minibatches):
        cache.look_ahead(stream)
        access = cache.access(stream.minibatch(m), REPLACE if cache.managed and replace(m) else None)
        hits += access.hit_rows
        fetched += len(stream.minibatch(m)) - access.hit_rows + access.replacement_rows
    return hits, fetched
