"""Neighbour sampling over in-edges, layer by layer, as `dgl.dataloading.NeighborSampler` does on a `DistGraph`.

DistDGL takes the nodes of a layer apart by owner, and every owner samples of its own nodes' in-edges, all of which its
partition has. So what is sampled is the same as on the whole graph: of every node of the layer, seeds and nodes of
earlier layers included, `fanout` in-edges at random without replacement, or all where there are no more. The nodes of
the layer and their neighbours are the next layer; all of them in the end are the input nodes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from traces.sampling.csc import PartitionedGraph, id_type


@dataclass(frozen=True, slots=True, eq=False)
class SampledEpoch:
    """One epoch of one trainer: a value a minibatch; `remote_ids` are ascending (int64)."""

    remote_ids: list[NDArray[np.int64]]
    seeds: NDArray[np.int64]
    input_nodes: NDArray[np.int64]
    sampled_edges: NDArray[np.int64]


class Sampler:
    """Samples minibatches of a graph, one at a time. `fanout` is in DGL's order, the seeds' hop last; -1: all.

    Its memory is 8 bytes a node, and 8 bytes an in-edge of the node that has most.
    """

    def __init__(self, graph: PartitionedGraph, fanout: tuple[int, ...]) -> None:
        self._graph = graph
        self._hops = np.array(fanout[::-1], np.int64)
        self._nodes = np.empty(graph.nodes, id_type(graph.nodes))
        self._seen = np.zeros(graph.nodes, np.int32)
        widest = int(np.diff(graph.indptr).max(initial=0))
        self._picked = np.zeros(widest, np.int64)
        self._counts = np.zeros(3, np.int64)

    def epoch(
        self, share: NDArray[np.int64], batch_size: int, own: tuple[int, int], rng: np.random.Generator
    ) -> SampledEpoch:
        """An epoch of the trainer whose training nodes are `share`, on the host that owns ids `own[0]` to `own[1] - 1`.

        The nodes are shuffled and taken in turn; the last minibatch may be shorter.
        """
        order = rng.permutation(share)
        state = rng.integers(2**64, size=1, dtype=np.uint64)
        starts = range(0, len(order), batch_size)
        found = [self._minibatch(order[start : start + batch_size], own, state) for start in starts]
        remote_ids, seeds, inputs, edges = zip(*found, strict=True)
        return SampledEpoch(list(remote_ids), np.array(seeds), np.array(inputs), np.array(edges))

    def _minibatch(
        self, seeds: NDArray[np.int64], own: tuple[int, int], state: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], int, int, int]:
        """Remote input nodes, and how many seeds, input nodes and sampled edges there are."""
        if self._counts[MINIBATCH] == np.iinfo(np.int32).max:
            self._seen[:], self._counts[MINIBATCH] = 0, 0
        graph = self._graph
        count, edges = sample_minibatch(
            graph.indptr, graph.indices, seeds, self._hops, self._nodes, self._seen, self._picked, self._counts, state
        )
        nodes = self._nodes[:count]
        remote = nodes[(nodes < own[0]) | (nodes >= own[1])].astype(np.int64)
        remote.sort()
        return remote, len(seeds), count, edges


MINIBATCH, PICK = 0, 1
"""Counters of a sampler: its minibatches and its picks, the marks in `seen` and `picked`."""

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX1, MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S27, S30, S31, S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


@njit(cache=True, nogil=True)
def below(bound, state):  # type: ignore[no-untyped-def]
    """A random whole number from 0 to `bound` - 1, which is less than 2**32. SplitMix64 (Steele, Lea and Flood, OOPSLA
    2014), its upper half scaled to the bound; no number is likelier than another by more than `bound` in 2**32."""
    state[0] += GOLDEN
    mixed = state[0]
    mixed = (mixed ^ (mixed >> S30)) * MIX1
    mixed = (mixed ^ (mixed >> S27)) * MIX2
    mixed = mixed ^ (mixed >> S31)
    return np.int64(((mixed >> S32) * np.uint64(bound)) >> S32)


@njit(cache=True, nogil=True)
def sample_minibatch(indptr, indices, seeds, hops, nodes, seen, picked, counts, state):  # type: ignore[no-untyped-def]
    """Fill `nodes` with the input nodes of a minibatch; returns how many, and how many edges were sampled.

    Neighbours are drawn by Floyd's algorithm (Bentley and Floyd, CACM 1987): of n, the last k in turn, each replaced
    by a random one up to it that has not been drawn yet.
    """
    counts[MINIBATCH] += 1
    now, count, edges = counts[MINIBATCH], 0, 0
    for seed in seeds:
        if seen[seed] != now:
            seen[seed] = now
            nodes[count] = seed
            count += 1
    for width in hops:
        for number in range(count):
            first, degree = indptr[nodes[number]], indptr[nodes[number] + 1] - indptr[nodes[number]]
            if width < 0 or degree <= width:
                edges += degree
                for i in range(first, first + degree):
                    neighbour = indices[i]
                    if seen[neighbour] != now:
                        seen[neighbour] = now
                        nodes[count] = neighbour
                        count += 1
                continue
            edges += width
            counts[PICK] += 1
            for last in range(degree - width, degree):
                drawn = below(last + 1, state)
                if picked[drawn] == counts[PICK]:
                    drawn = last
                picked[drawn] = counts[PICK]
                neighbour = indices[first + drawn]
                if seen[neighbour] != now:
                    seen[neighbour] = now
                    nodes[count] = neighbour
                    count += 1
    return count, edges
