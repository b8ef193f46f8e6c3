"""When a node is asked for, given how often: kernels of `traces.synthetic`."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True)
def epoch_counts(  # type: ignore[no-untyped-def]
    counts: NDArray[np.int64], regular: NDArray[np.bool_], epochs: int, minibatches: int, rng: np.random.Generator
):
    """How often each node is asked for in each epoch: shape (epochs, nodes), int32, with the sums `counts`.

    Evenly where `regular`, with what is left over in random epochs; at random otherwise; at most once a minibatch.
    """
    found = np.zeros((epochs, len(counts)), np.int32)
    for node in range(len(counts)):
        left = min(counts[node], epochs * minibatches)
        whole = left // epochs if regular[node] else 0
        left -= whole * epochs
        room = minibatches - whole
        for epoch in range(epochs):
            after = epochs - epoch - 1
            if regular[node]:
                taken = np.int64(rng.random() * (after + 1) < left)
            else:
                taken = rng.binomial(left, 1.0 / (after + 1))
                taken = min(max(taken, left - after * room), room)  # type: ignore[arg-type]
            found[epoch, node] = whole + taken
            left -= taken
    return found


@njit(cache=True)
def place(counts: NDArray[np.int32], minibatches: int, rng: np.random.Generator):  # type: ignore[no-untyped-def]
    """Put each node into `counts` distinct random minibatches of an epoch.

    Returns the nodes (int64) of one minibatch after another, ascending within each, and where each begins.
    """
    accesses = counts.sum()
    of_minibatch = np.empty(accesses, np.int32)
    sizes = np.zeros(minibatches + 1, np.int64)
    order = np.arange(minibatches).astype(np.int32)
    at = 0
    for node in range(len(counts)):
        for i in range(counts[node]):
            j = rng.integers(i, minibatches)  # the first steps of a Fisher-Yates shuffle
            order[i], order[j] = order[j], order[i]
            of_minibatch[at] = order[i]
            sizes[order[i] + 1] += 1
            at += 1
    offsets = np.cumsum(sizes)
    free = offsets[:-1].copy()
    nodes = np.empty(accesses, np.int64)
    at = 0
    for node in range(len(counts)):
        for _ in range(counts[node]):
            minibatch = of_minibatch[at]
            nodes[free[minibatch]] = node
            free[minibatch] += 1
            at += 1
    return nodes, offsets
