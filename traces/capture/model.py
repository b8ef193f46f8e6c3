"""The models that a capture trains: one layer a fanout, over the blocks that DGL samples.

Both take (blocks, input features of shape (input nodes, feature_dim)) and give the scores of the seeds, shape
(seeds, classes). A block is DGL's own, or the `BlockEdges` of one, on any device.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import dgl.nn
import torch
from torch import nn

from traces.capture.block_edges import BlockEdges, gat_conv, sage_conv
from traces.capture.launch import HEADS

OverEdges = Callable[[Any, BlockEdges, torch.Tensor], torch.Tensor]
"""A `dgl.nn` convolution with its parameters over the edges of a block."""


def _convolve(over_edges: OverEdges, conv: nn.Module, block: Any, features: torch.Tensor) -> torch.Tensor:
    return over_edges(conv, block, features) if isinstance(block, BlockEdges) else conv(block, features)


class GraphSAGE(nn.Module):
    """Mean-aggregating GraphSAGE (Hamilton et al., NeurIPS 2017), ReLU between layers."""

    def __init__(self, feature_dim: int, hidden: int, classes: int, layers: int) -> None:
        super().__init__()
        widths = [feature_dim, *[hidden] * (layers - 1), classes]
        self.layers = nn.ModuleList(dgl.nn.SAGEConv(width, following, "mean") for width, following in pairwise(widths))

    def forward(self, blocks: list[Any], features: torch.Tensor) -> torch.Tensor:
        hidden = features
        for layer, block in zip(self.layers[:-1], blocks[:-1], strict=True):
            hidden = torch.relu(_convolve(sage_conv, layer, block, hidden))
        return _convolve(sage_conv, self.layers[-1], blocks[-1], hidden)


class GAT(nn.Module):
    """Graph attention network (Velickovic et al., ICLR 2018), ELU between layers.

    The hidden width is shared out among `HEADS` heads; the last layer has one head. A node without neighbours in a
    block keeps nothing but the bias.
    """

    def __init__(self, feature_dim: int, hidden: int, classes: int, layers: int) -> None:
        super().__init__()
        widths = [feature_dim, *[hidden] * (layers - 1)]
        self.layers = nn.ModuleList(
            dgl.nn.GATConv(width, following // HEADS, HEADS, allow_zero_in_degree=True)
            for width, following in pairwise(widths)
        )
        self.layers.append(dgl.nn.GATConv(widths[-1], classes, 1, allow_zero_in_degree=True))

    def forward(self, blocks: list[Any], features: torch.Tensor) -> torch.Tensor:
        hidden = features
        for layer, block in zip(self.layers[:-1], blocks[:-1], strict=True):
            hidden = nn.functional.elu(_convolve(gat_conv, layer, block, hidden).flatten(1))
        return _convolve(gat_conv, self.layers[-1], blocks[-1], hidden).mean(1)


CLASSES = {"GraphSAGE": GraphSAGE, "GAT": GAT}
"""By the names of `traces.capture.launch.MODELS`."""
