"""Reading what DGL's loaders return: minibatches with nodes or edges as seeds, of one node type or several."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from dgl.base import NID

from traces.errors import InputError

Typed = dict[str, torch.Tensor]
"""Ids (int64) within each node type, in the order in which DGL gives them."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """A sampled minibatch.

    `inputs` are the nodes whose features the first layer needs; `targets` those that the last layer computes: the seed
    nodes, or the ends of the seed edges with those of the negative ones. `seeds` counts the seed nodes or edges.
    """

    inputs: Typed
    targets: Typed
    seeds: int
    sampled_edges: int


def read_minibatch(item: Any, only_type: str) -> Sampled:
    """Read (input nodes, seeds, blocks), (input nodes, pair graph, blocks), or the latter with a negative pair graph.

    `only_type` names the node type of a graph that has only one. Raises `InputError` for anything else.
    """
    if not isinstance(item, tuple | list) or len(item) < 3 or not isinstance(item[-1], list | tuple) or not item[-1]:
        raise InputError(
            f"a loader returned {type(item).__name__}, not (input nodes, seeds, blocks): only DGL's DistNodeDataLoader "
            "and DistEdgeDataLoader with blocks can be recorded"
        )
    inputs, seeds, blocks = item[0], item[1], item[-1]
    last = blocks[-1]
    types = last.dsttypes
    return Sampled(
        inputs=_typed(inputs, only_type),
        targets={(name if len(types) > 1 else only_type): last.dstnodes[name].data[NID] for name in types}
        if not isinstance(seeds, dict | torch.Tensor)
        else _typed(seeds, only_type),
        seeds=_count(seeds),
        sampled_edges=sum(block.num_edges() for block in blocks),
    )


def _typed(ids: Any, only_type: str) -> Typed:
    return dict(ids) if isinstance(ids, dict) else {only_type: ids}


def _count(seeds: Any) -> int:
    if isinstance(seeds, dict):
        return sum(map(_count, seeds.values()))
    return len(seeds) if isinstance(seeds, torch.Tensor) else int(seeds.num_edges())
