"""Each partition's remote nodes for a trace: degrees, halo, and vertex inclusion probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from traces.nodes import Nodes
from traces.sampling.csc import PartitionedGraph, add_over_edges, count_into

LISTED_FROM = 0.05
"""A node outside the halo is listed if a trainer is expected to request it at least so often an epoch."""


def inclusion_probability(
    graph: PartitionedGraph, seeds: NDArray[np.int64], batch_size: int, fanout: tuple[int, ...]
) -> NDArray[np.float64]:
    """Probability of every node to be an input node of one minibatch of `batch_size` out of `seeds`: shape (nodes,).

    The vertex inclusion probability of SALIENT++ (Kaler et al., MLSys 2023): hop by hop, with the probabilities of a
    node's neighbours taken as independent. `fanout` is in DGL's order, the last entry being the seeds' hop.
    """
    in_degrees = np.diff(graph.indptr)
    reached = np.zeros(graph.nodes)
    reached[seeds] = min(1.0, batch_size / max(len(seeds), 1))
    missed = 1.0 - reached
    for width in reversed(fanout):
        # a node v that was reached samples each of its in-edges with probability min(1, width / in-degree)
        share = np.minimum(1.0, width / np.maximum(in_degrees, 1)) if width >= 0 else 1.0  # below 0: all neighbours
        through = reached * share
        with np.errstate(divide="ignore"):
            log_missed = np.log1p(-through)
        of_sources = np.zeros(graph.nodes)
        add_over_edges(graph.indptr, graph.indices, log_missed, of_sources)
        reached = -np.expm1(of_sources)
        missed *= 1.0 - reached
    return 1.0 - missed


def remote_nodes(graph: PartitionedGraph, batch_size: int, trainers: int, fanout: tuple[int, ...]) -> Iterator[Nodes]:
    """Each partition's halo, and the nodes beyond it that its trainers are likely to ask for, partition by partition.

    The training nodes are shared out evenly to partitions, and a partition's to its `trainers`.
    """
    degrees = _occurrences(graph.indices, graph.nodes)
    # as `dgl.distributed.node_split` does: even shares in order of ids, so some seeds are another partition's
    shares = np.array_split(graph.train, len(graph.offsets) - 1)
    for partition, (lower, upper) in enumerate(zip(graph.offsets[:-1], graph.offsets[1:], strict=True)):
        local_degrees = _occurrences(graph.indices[graph.indptr[lower] : graph.indptr[upper]], graph.nodes)
        seeds = shares[partition]
        # which of its host's seeds a trainer gets is random, so any seed is as likely in its next minibatch
        vip = inclusion_probability(graph, seeds, batch_size, fanout)
        minibatches_per_epoch = max(1.0, len(seeds) / (batch_size * trainers))
        listed = (local_degrees > 0) | (vip * minibatches_per_epoch >= LISTED_FROM)
        listed[lower:upper] = False
        ids = np.flatnonzero(listed)
        yield Nodes(
            ids,
            degrees[ids].astype(np.int32),
            local_degrees[ids].astype(np.int32),
            vip[ids].astype(np.float32),
        )


def _occurrences(ids: NDArray[np.int64], nodes: int) -> NDArray[np.int64]:
    counts = np.zeros(nodes, np.int64)
    count_into(ids, counts)
    return counts
