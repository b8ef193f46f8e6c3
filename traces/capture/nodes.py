"""Each partition's remote nodes for a trace: degrees, halo, and vertex inclusion probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.nodes import Nodes

LISTED_FROM = 0.05
"""A node outside the halo is listed if a trainer is expected to request it at least so often an epoch."""


@dataclass(frozen=True, slots=True, eq=False)
class PartitionedGraph:
    """A graph under partition-global ids: edges `src` -> `dst` (int64), partition p owning offsets[p] to offsets[p+1].

    `train` (int64) are the training nodes.
    """

    src: NDArray[np.int64]
    dst: NDArray[np.int64]
    offsets: NDArray[np.int64]
    train: NDArray[np.int64]


def inclusion_probability(
    graph: PartitionedGraph, seeds: NDArray[np.int64], batch_size: int, fanout: tuple[int, ...]
) -> NDArray[np.float64]:
    """Probability of every node to be an input node of one minibatch of `batch_size` out of `seeds`: shape (nodes,).

    The vertex inclusion probability of SALIENT++ (Kaler et al., MLSys 2023): hop by hop, with the probabilities of a
    node's neighbours taken as independent. `fanout` is in DGL's order, the last entry being the seeds' hop.
    """
    nodes = int(graph.offsets[-1])
    in_degrees = np.bincount(graph.dst, minlength=nodes)
    reached = np.zeros(nodes)
    reached[seeds] = min(1.0, batch_size / max(len(seeds), 1))
    missed = 1.0 - reached
    for width in reversed(fanout):
        # a node v that was reached samples each of its in-edges with probability min(1, width / in-degree)
        share = np.minimum(1.0, width / np.maximum(in_degrees, 1)) if width >= 0 else 1.0  # below 0: all neighbours
        through = reached * share
        with np.errstate(divide="ignore"):
            log_missed = np.log1p(-through)
        reached = -np.expm1(np.bincount(graph.src, weights=log_missed[graph.dst], minlength=nodes))
        missed *= 1.0 - reached
    return 1.0 - missed


def remote_nodes(graph: PartitionedGraph, batch_size: int, trainers: int, fanout: tuple[int, ...]) -> Iterator[Nodes]:
    """Each partition's halo, and the nodes beyond it that its trainers are likely to ask for, partition by partition.

    The training nodes are shared out evenly to partitions, and a partition's to its `trainers`.
    """
    nodes = int(graph.offsets[-1])
    degrees = np.bincount(graph.src, minlength=nodes)
    # as `dgl.distributed.node_split` does: even shares in order of ids, so some seeds are another partition's
    shares = np.array_split(np.sort(graph.train), len(graph.offsets) - 1)
    owner_of_dst = np.searchsorted(graph.offsets, graph.dst, side="right") - 1
    for partition, (lower, upper) in enumerate(zip(graph.offsets[:-1], graph.offsets[1:], strict=True)):
        local_degrees = np.bincount(graph.src[owner_of_dst == partition], minlength=nodes)
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
