"""Sampling some minibatches ahead of the one whose features are fetched."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch

T = TypeVar("T")


class LooksAhead(Protocol):
    """Who may want to know what minibatches ask for, before they are fetched."""

    @property
    def looks_further(self) -> bool:
        """Whether one more minibatch is to be sampled before the next one is fetched."""

    def foresee(self, input_nodes: torch.Tensor, sampled_bytes: int) -> None:
        """A minibatch was sampled, whose blocks take so much memory while it waits to be fetched. Minibatches are
        fetched in the order in which they were sampled."""

    def begin_epoch(self) -> None:
        """An epoch begins. What was foreseen and not fetched belongs to one that was broken off."""


class LooksNoFurther:
    """Who wants to know nothing beforehand."""

    looks_further = False

    def foresee(self, input_nodes: torch.Tensor, sampled_bytes: int) -> None:
        """Nothing is kept."""

    def begin_epoch(self) -> None:
        """Nothing was kept."""


def sampled_ahead(
    loader: Iterable[T],
    source: LooksAhead,
    input_nodes: Callable[[T], torch.Tensor],
    blocks: Callable[[T], Iterable[Any]],
) -> Iterator[T]:
    """An epoch's minibatches in their order, each once those that `source` wants to know beforehand are sampled.

    Sampling never looks at features, and it is the same thread that samples in the same order, so that minibatches are
    those of a loader that samples none ahead.
    """
    source.begin_epoch()
    every, waiting, over = iter(loader), deque[T](), False
    while True:
        while not over and ((wanted := source.looks_further) or not waiting):
            if (minibatch := next(every, None)) is None:
                over = True
                break
            if wanted:
                source.foresee(input_nodes(minibatch), block_bytes(blocks(minibatch)))
            waiting.append(minibatch)
        minibatch = None
        if not waiting:
            return
        yield waiting.popleft()


def block_bytes(blocks: Iterable[Any]) -> int:
    """What DGL's blocks take in memory: their edges, in every format that they are kept in, and all data of theirs."""
    total = 0
    for block in blocks:
        for source_type, edge_type, target_type in block.canonical_etypes:
            part = block[source_type, edge_type, target_type]
            edges, sources, targets = part.num_edges(), part.num_src_nodes(), part.num_dst_nodes()
            numbers = {"coo": 2 * edges, "csr": 3 * edges + sources + 1, "csc": 3 * edges + targets + 1}
            id_bytes = torch.empty(0, dtype=part.idtype).element_size()
            total += id_bytes * sum(numbers[kept] for kept in part.formats()["created"])
            total += _bytes(part.edata)
        total += sum(_bytes(block.srcnodes[name].data) for name in block.srctypes)
        total += sum(_bytes(block.dstnodes[name].data) for name in block.dsttypes)
    return total


def _bytes(data: Any) -> int:
    tensors = [data[name] for name in data]  # values would be DGL's columns
    return sum(one.numel() * one.element_size() for one in tensors)
