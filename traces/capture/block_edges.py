"""Message passing over a block's edges in plain PyTorch, for GPUs: PyPI's dgl computes on CPUs only.

The functions use the parameters of `dgl.nn` convolutions and return the same; on CPUs, `dgl.nn` is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True, slots=True, eq=False)
class BlockEdges:
    """The edges of a DGL block: edge e goes from source `src[e]` to destination `dst[e]` (int64, positions in a block).

    The `dst_nodes` destinations are the first of the sources.
    """

    src: torch.Tensor
    dst: torch.Tensor
    dst_nodes: int

    @classmethod
    def of(cls, block: Any) -> BlockEdges:
        """The edges of a block as DGL's samplers make it."""
        src, dst = block.edges()
        return cls(src.long(), dst.long(), block.num_dst_nodes())

    def num_edges(self) -> int:
        """Number of edges, as `DGLGraph.num_edges`."""
        return len(self.src)

    def to(self, device: torch.device) -> BlockEdges:
        """A copy on a device."""
        return BlockEdges(self.src.to(device), self.dst.to(device), self.dst_nodes)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Keep the memory until the work queued on `stream` is done."""
        self.src.record_stream(stream)
        self.dst.record_stream(stream)


def sage_conv(conv: Any, edges: BlockEdges, features: torch.Tensor) -> torch.Tensor:
    """The output of a mean-aggregating `dgl.nn.SAGEConv`: shape (destinations, width). The mean of no neighbours is
    0."""
    shrinks = conv.fc_neigh.in_features > conv.fc_neigh.out_features  # then fewer numbers are summed after the product
    sent = conv.fc_neigh(features) if shrinks else features
    total = sent.new_zeros(edges.dst_nodes, sent.shape[1]).index_add(0, edges.dst, sent[edges.src])
    neighbours = torch.bincount(edges.dst, minlength=edges.dst_nodes).clamp(min=1)
    mean = total / neighbours.unsqueeze(1)
    return conv.fc_self(features[: edges.dst_nodes]) + (mean if shrinks else conv.fc_neigh(mean))


def gat_conv(conv: Any, edges: BlockEdges, features: torch.Tensor) -> torch.Tensor:
    """The output of `dgl.nn.GATConv` without residual or dropout: shape (destinations, heads, width)."""
    _, heads, width = conv.attn_l.shape
    rows = conv.fc(features).view(-1, heads, width)
    of_src, of_dst = (rows * conv.attn_l).sum(-1), (rows[: edges.dst_nodes] * conv.attn_r).sum(-1)
    scores = nn.functional.leaky_relu(of_src[edges.src] + of_dst[edges.dst], conv.leaky_relu.negative_slope)
    attention = _softmax(scores, edges).unsqueeze(-1)
    sent = attention * rows[edges.src]
    total = sent.new_zeros(edges.dst_nodes, heads, width).index_add(0, edges.dst, sent)
    return total + conv.bias.view(1, heads, width)


def _softmax(scores: torch.Tensor, edges: BlockEdges) -> torch.Tensor:
    """Over the edges into each destination; `scores` has shape (edges, heads)."""
    at = edges.dst.unsqueeze(1).expand_as(scores)
    highest = scores.new_full((edges.dst_nodes, scores.shape[1]), -torch.inf).scatter_reduce(
        0, at, scores.detach(), "amax"
    )
    powers = (scores - highest[edges.dst]).exp()
    sums = powers.new_zeros(edges.dst_nodes, scores.shape[1]).index_add(0, edges.dst, powers)
    return powers / sums[edges.dst]
