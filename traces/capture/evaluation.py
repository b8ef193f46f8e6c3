"""Evaluation of the trained model on validation and test nodes."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.distributed

from traces.capture.training import Training
from traces.cluster.process import Connection

Split = Literal["val", "test"]


def evaluate(connection: Connection, training: Training, split: Split, loader_options: dict[str, Any]) -> float:
    """Accuracy over all nodes of a split, or with multi-label data the micro-averaged F1 score; the same on all ranks.

    Neighbours are sampled as in training, and features come straight from their owners. Every trainer takes its share
    of the nodes and must call this; nothing else may use DGL's store meanwhile.
    """
    import dgl

    graph = connection.graph
    nodes = dgl.distributed.node_split(
        graph.ndata[f"{split}_mask"], graph.get_partition_book(), rank=connection.rank, force_even=True
    )
    loader = dgl.dataloading.DistNodeDataLoader(graph, nodes, shuffle=False, **loader_options)
    model, device = training.model.module, training.device
    counted = torch.zeros(3, dtype=torch.float64)  # true positives, false positives, false negatives
    model.eval()
    with torch.no_grad():
        for input_nodes, seeds, blocks in loader:
            features = training.features[input_nodes].float().to(device)
            scores = model(training.on_device(blocks), features).cpu()
            counted += _count(scores, training.labels[seeds], training.multi_label)
    model.train()
    torch.distributed.all_reduce(counted)
    right, given, missing = counted.tolist()
    return right / max(right + (given + missing) / 2, 1.0)


def _count(scores: torch.Tensor, labels: torch.Tensor, multi_label: bool) -> torch.Tensor:
    """True positives, false positives and false negatives. With one class a node, each error counts as one of the
    latter two each, so that F1 is the accuracy."""
    if not multi_label:
        right = (scores.argmax(1) == labels).sum()
        return torch.stack([right, len(labels) - right, len(labels) - right])
    given, wanted = scores > 0, labels > 0
    return torch.stack([(given & wanted).sum(), (given & ~wanted).sum(), (~given & wanted).sum()])
