"""The GraphSAGE model that a capture trains."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import dgl.nn
import torch
from torch import nn


class GraphSAGE(nn.Module):
    """Mean-aggregating GraphSAGE (Hamilton et al., NeurIPS 2017): one layer a fanout, ReLU between layers."""

    def __init__(self, feature_dim: int, hidden: int, classes: int, layers: int) -> None:
        super().__init__()
        widths = [feature_dim, *[hidden] * (layers - 1), classes]
        self.layers = nn.ModuleList(dgl.nn.SAGEConv(width, following, "mean") for width, following in pairwise(widths))

    def forward(self, blocks: list[Any], features: torch.Tensor) -> torch.Tensor:
        """Class scores of the seeds, shape (seeds, classes), from input features (input nodes, feature_dim)."""
        hidden = features
        for layer, block in zip(self.layers[:-1], blocks[:-1], strict=True):
            hidden = torch.relu(layer(block, hidden))
        return self.layers[-1](blocks[-1], hidden)
