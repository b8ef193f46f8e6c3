"""Each partition's remote nodes out of DGL's partition files: degrees, halo, and vertex inclusion probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from traces.capture.nodes import LISTED_FROM
from traces.job.partition_files import PartitionFiles
from traces.nodes import Nodes

Width = int | Mapping[str, int]
"""Neighbours of one hop: the same for every edge type, or a number for each; -1 for all."""


def remote_nodes(
    files: PartitionFiles,
    targets: list[NDArray[np.float64]],
    fanout: tuple[Width, ...],
    minibatches_per_epoch: list[float],
    cached: NDArray[np.bool_],
) -> Iterator[Nodes]:
    """Each partition's halo, and the nodes beyond it that its trainers are likely to ask for, partition by partition.

    `targets[p]` (shape (nodes,)) is the share of the minibatches of partition p's trainers in which a node was one of
    those that the last layer computes. `fanout` is in DGL's order, the last entry being the hop of the seeds.
    `cached` (shape (nodes,)) leaves out nodes whose rows no buffer may hold. Reads the files once a hop, a partition
    at a time.
    """
    nodes = int(files.offsets[-1])
    into = [_edges_out(files, part, nodes) for part in range(files.parts)]
    degrees: NDArray[np.int64] = np.sum(into, axis=0, dtype=np.int64)
    reached = _inclusion(files, targets, fanout, nodes)
    for part in range(files.parts):
        listed = ((into[part] > 0) | (reached[part] * minibatches_per_epoch[part] >= LISTED_FROM)) & cached
        listed[files.offsets[part] : files.offsets[part + 1]] = False
        ids = np.flatnonzero(listed)
        local_degrees, vip = into[part][ids].astype(np.int32), reached[part][ids].astype(np.float32)
        yield Nodes(ids, degrees[ids].astype(np.int32), local_degrees, vip)


def _edges_out(files: PartitionFiles, part: int, nodes: int) -> NDArray[np.int64]:
    """Edges out of every node into the nodes of a partition."""
    counts = np.zeros(nodes, np.int64)
    for edges in files.part_edges(part):
        counts += np.bincount(edges.src, minlength=nodes)
    return counts


def _inclusion(
    files: PartitionFiles, targets: list[NDArray[np.float64]], fanout: tuple[Width, ...], nodes: int
) -> list[NDArray[np.float64]]:
    """Probability of every node to be an input node of one minibatch, by the partition of the trainer.

    The vertex inclusion probability of SALIENT++ (Kaler et al., MLSys 2023), as `traces.capture.nodes` has it, with
    the edges of each type sampled apart.
    """
    reached, missed = list(targets), [1.0 - one for one in targets]
    for width in reversed(fanout):
        log_missed = [np.zeros(nodes) for _ in targets]
        for owner in range(files.parts):
            for edges in files.part_edges(owner):
                wanted = width if isinstance(width, int) else width.get(edges.edge_type, 0)
                in_degrees = np.bincount(edges.dst, minlength=nodes)
                share = np.ones(nodes) if wanted < 0 else np.minimum(1.0, wanted / np.maximum(in_degrees, 1))
                for log, of_trainers in zip(log_missed, reached, strict=True):
                    with np.errstate(divide="ignore"):
                        not_through = np.log1p(-of_trainers * share)
                    log += np.bincount(edges.src, weights=not_through[edges.dst], minlength=nodes)
        reached = [-np.expm1(log) for log in log_missed]
        missed = [before * (1.0 - one) for before, one in zip(missed, reached, strict=True)]
    return [1.0 - one for one in missed]
