"""A partitioned graph by in-edges, which is the way in which neighbours are sampled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

EDGES_AT_ONCE = 1 << 24
"""So many edges are held as int64 at a time while they are put in place."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionedGraph:
    """A graph of n nodes and e edges under partition-global ids, partition p owning offsets[p] to offsets[p + 1] - 1.

    The in-edges of node v come from `indices[indptr[v]:indptr[v + 1]]`: `indptr` is int64 of shape (n + 1,), `indices`
    of shape (e,) int32 where ids fit, else int64. `train` (int64, ascending) are the training nodes.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    offsets: NDArray[np.int64]
    train: NDArray[np.int64]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.indptr) - 1

    @property
    def checksum(self) -> str:
        """The SHA-256 of its arrays, in hexadecimal."""
        digest = hashlib.sha256()
        for array in (self.indptr, self.indices, self.offsets, self.train):
            for start in range(0, len(array), EDGES_AT_ONCE):
                digest.update(np.ascontiguousarray(array[start : start + EDGES_AT_ONCE]).data)
        return digest.hexdigest()

    @classmethod
    def of_edges(
        cls, src: NDArray[np.int64], dst: NDArray[np.int64], offsets: NDArray[np.int64], train: NDArray[np.int64]
    ) -> PartitionedGraph:
        """The graph with edges `src[i]` -> `dst[i]`, partition-global ids."""
        edges = InEdges(int(offsets[-1]))
        edges.count(dst)
        edges.add(src, dst)
        return cls(edges.indptr, edges.indices, offsets, np.sort(train))


class InEdges:
    """Sorts edges by the node that they enter: all are counted first, and then added in the same order."""

    def __init__(self, nodes: int) -> None:
        self.indptr = np.zeros(nodes + 1, np.int64)
        self.indices: NDArray[Any] = np.empty(0, id_type(nodes))
        self._next: NDArray[np.int64] | None = None

    def count(self, dst: NDArray[np.int64]) -> None:
        """Tell of edges that will be added."""
        for start in range(0, len(dst), EDGES_AT_ONCE):
            count_into(np.ascontiguousarray(dst[start : start + EDGES_AT_ONCE]), self.indptr[1:])

    def add(self, src: NDArray[np.int64], dst: NDArray[np.int64]) -> None:
        """Put edges in place."""
        if self._next is None:
            np.cumsum(self.indptr, out=self.indptr)
            self._next = self.indptr[:-1].copy()
            self.indices = np.empty(self.indptr[-1], self.indices.dtype)
        for start in range(0, len(dst), EDGES_AT_ONCE):
            now = slice(start, start + EDGES_AT_ONCE)
            put(np.ascontiguousarray(src[now]), np.ascontiguousarray(dst[now]), self._next, self.indices)


def id_type(nodes: int) -> type[np.int32] | type[np.int64]:
    """What holds ids of so many nodes."""
    return np.int32 if nodes <= np.iinfo(np.int32).max else np.int64


@njit(cache=True, nogil=True)
def count_into(ids, counts):  # type: ignore[no-untyped-def]
    """Add 1 to the count of every id."""
    for i in range(len(ids)):
        counts[ids[i]] += 1


@njit(cache=True, nogil=True)
def put(src, dst, place, indices):  # type: ignore[no-untyped-def]
    """Put the source of every edge behind those that enter the same node already."""
    for i in range(len(src)):
        indices[place[dst[i]]] = src[i]
        place[dst[i]] += 1


@njit(cache=True, nogil=True)
def add_over_edges(indptr, indices, values, sums):  # type: ignore[no-untyped-def]
    """For every edge u -> v, add `values[v]` to `sums[u]`."""
    for v in range(len(indptr) - 1):
        value = values[v]
        if value != 0.0:
            for i in range(indptr[v], indptr[v + 1]):
                sums[indices[i]] += value
