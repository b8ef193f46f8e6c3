"""Doubly linked rings of nodes: a node is taken out, and put at the end of a ring, in a step.

`links` (nodes, 2) holds each node's neighbours. Where a ring begins and ends is a node, too, which is in no other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled import kernel, part

BEFORE, AFTER = 0, 1


def alone(nodes: int) -> NDArray[np.int32]:
    """The `links` of so many nodes that are in no ring."""
    return np.repeat(np.arange(nodes, dtype=np.int32), 2).reshape(-1, 2)


def more_rings(links: NDArray[np.int32], rings: int) -> NDArray[np.int32]:
    """The same `links`, and behind them so many empty rings."""
    return np.concatenate((links, alone(len(links) + rings)[len(links) :]))


@kernel
def unlink(node, links):  # type: ignore[no-untyped-def]
    """Take a node out of its ring, if it is in one."""
    before, after = links[node, BEFORE], links[node, AFTER]
    links[before, AFTER] = after
    links[after, BEFORE] = before
    links[node, BEFORE] = links[node, AFTER] = node


@part
def link_last(node, ring, links):  # type: ignore[no-untyped-def]
    """Put a node that is in no ring at the end of the one that begins at node `ring`."""
    before = links[ring, BEFORE]
    links[before, AFTER] = node
    links[node, BEFORE] = before
    links[node, AFTER] = ring
    links[ring, BEFORE] = node
