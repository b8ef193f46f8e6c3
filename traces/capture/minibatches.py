"""Preparing minibatches: sampling, fetching features and labels, in turn with training or ahead of it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import torch

from traces.capture.fetch import FeatureSource, FetchTimes


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A minibatch ready to train with, when its preparation began (`perf_counter`), and how long its parts took."""

    input_nodes: torch.Tensor
    features: torch.Tensor
    labels: torch.Tensor
    blocks: list[Any]
    start: float
    sample_s: float
    fetch_s: float
    label_s: float
    fetch: FetchTimes


class Minibatches:
    """A DistDGL loader whose minibatches come with their features and labels.

    `depth` minibatches are prepared ahead by one thread, which does all of DGL's remote calls, because DGL allows no
    two at a time; with depth 0 preparing and training take turns. An epoch's first minibatch is never prepared during
    the epoch before, because DistDGL's loader shuffles anew.
    """

    def __init__(self, loader: Any, source: FeatureSource, labels: Any, depth: int) -> None:
        self.loader, self.source, self.labels, self.depth = loader, source, labels, depth

    def __iter__(self) -> Iterator[Prepared]:
        """One epoch. What fails in the thread is raised here."""
        return self._ahead() if self.depth else self._prepare_all()

    def prepare(self, start: float, input_nodes: torch.Tensor, seeds: torch.Tensor, blocks: list[Any]) -> Prepared:
        """Fetch what a minibatch needs that has just been sampled, which began at `start`."""
        sampled = perf_counter()
        features, fetch = self.source.fetch(input_nodes)
        fetched = perf_counter()
        labels = self.labels[seeds]
        label_s = perf_counter() - fetched
        return Prepared(
            input_nodes, features, labels, blocks, start, sampled - start, fetched - sampled, label_s, fetch
        )

    def _prepare_all(self) -> Iterator[Prepared]:
        sampled, start = iter(self.loader), perf_counter()
        while (minibatch := next(sampled, None)) is not None:
            yield self.prepare(start, *minibatch)
            start = perf_counter()

    def _ahead(self) -> Iterator[Prepared]:
        ready: SimpleQueue[Prepared | BaseException | None] = SimpleQueue()
        may_prepare = threading.Semaphore(self.depth)

        def prepare() -> None:
            try:
                minibatches = self._prepare_all()
                while True:
                    may_prepare.acquire()
                    if (prepared := next(minibatches, None)) is None:
                        break
                    ready.put(prepared)
                ready.put(None)
            except BaseException as error:
                ready.put(error)

        threading.Thread(target=prepare, name="prepare", daemon=True).start()
        while (prepared := ready.get()) is not None:
            if isinstance(prepared, BaseException):
                raise prepared
            may_prepare.release()
            yield prepared
