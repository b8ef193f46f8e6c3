"""Hits and replacement rows of a cache over a stream, without policy and time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.caches.cache import Cache
from sim.workload.stream import Stream


def count(cache: Cache, stream: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hits and replacement rows of every minibatch under a cache that no policy decides for: shapes (minibatches,)."""
    hits = np.zeros(stream.minibatches, np.int64)
    replacements = np.zeros(stream.minibatches, np.int64)
    for minibatch in range(stream.minibatches):
        cache.look_ahead(stream)
        fetch_counts = cache.access(stream.minibatch(minibatch))
        hits[minibatch], replacements[minibatch] = fetch_counts.hit_rows, fetch_counts.replacement_rows
    return hits, replacements
