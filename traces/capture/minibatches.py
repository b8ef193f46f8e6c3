"""Preparing minibatches (sampling, features, labels), alternating with training or ahead of it in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import dgl
import torch

from traces.capture.ahead import sampled_ahead
from traces.capture.device import CPU, to_device
from traces.capture.fetch import DistStore, FeatureSource, FetchTimes, Rows
from traces.job.lock import lock_rpc

LABELS = "labels"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A minibatch ready to train with, and the times of preparing it; `prepare_start_s` is a reading of `perf_counter`.

    Where minibatches are sampled ahead, `sample_s` is the time of all that was sampled in this one's turn.
    `features` have a row an input node, `labels` (None where no labels were asked for) a row a seed.
    """

    input_nodes: torch.Tensor
    seeds: torch.Tensor
    features: Rows
    labels: torch.Tensor | None
    blocks: list[Any]
    prepare_start_s: float
    sample_s: float
    fetch_s: float
    label_s: float
    copy_s: float
    fetch: FetchTimes


class Minibatches:
    """A DistDGL loader whose minibatches come with their features and labels, on the training device.

    `loader` is a `DistNodeDataLoader`, `labels` a DistTensor or None. `depth` minibatches are prepared ahead by one
    thread; with depth 0 preparing and training take turns. An epoch's first minibatch is never prepared during the
    epoch before, because DistDGL's loader shuffles anew. `to_block` turns DGL's blocks into what is copied to a GPU; by
    default, into themselves, which needs a dgl that is built with CUDA.
    """

    def __init__(
        self,
        loader: Any,
        source: FeatureSource,
        labels: Any,
        depth: int,
        device: torch.device = CPU,
        to_block: Callable[[Any], Any] = lambda block: block,
    ) -> None:
        self.loader, self.source, self.depth, self.device = loader, source, depth, device
        # DGL's own pull chooses servers with the generator of the thread, out of which sampling draws too: then samples
        # would depend on how many labels were pulled before
        self.labels = None if labels is None else DistStore({LABELS: labels})
        self._to_block = to_block
        lock_rpc()  # a script may pull while the thread does

    def __iter__(self) -> Iterator[Prepared]:
        """One epoch. What fails in the thread is raised here."""
        seed = int(torch.randint(2**31, ()))
        return self._ahead(seed) if self.depth else self._prepare_all(seed)

    def prepare(self, start: float, input_nodes: torch.Tensor, seeds: torch.Tensor, blocks: list[Any]) -> Prepared:
        """Fetch features and labels of a sampled minibatch, whose turn began at `start`."""
        sampled = perf_counter()
        features, fetch = self.source.fetch(input_nodes)
        fetched = perf_counter()
        labels = None if self.labels is None else self.labels.fetch(seeds)[0][LABELS]
        labelled = perf_counter()
        if self.device != CPU:
            blocks = [self._to_block(block) for block in blocks]
            features, labels, blocks = to_device(features, labels, blocks, self.device)
        return Prepared(
            input_nodes=input_nodes,
            seeds=seeds,
            features=features,
            labels=labels,
            blocks=blocks,
            prepare_start_s=start,
            sample_s=sampled - start - fetch.foresee_s,
            fetch_s=fetched - sampled - fetch.buffer_s - fetch.decide_s,
            label_s=labelled - fetched,
            copy_s=perf_counter() - labelled + fetch.buffer_s + fetch.foresee_s,
            fetch=fetch,
        )

    def _prepare_all(self, seed: int) -> Iterator[Prepared]:
        # DGL samples with a generator a thread, and that of a new thread has no seed. It adds the thread's number, so
        # runs with equal seeds sample alike where both prepare ahead, or neither does.
        dgl.seed(seed)
        sampled = sampled_ahead(self.loader, self.source, itemgetter(0), itemgetter(2))
        while True:
            start = perf_counter()
            if (minibatch := next(sampled, None)) is None:
                return
            yield self.prepare(start, *minibatch)

    def _ahead(self, seed: int) -> Iterator[Prepared]:
        ready: SimpleQueue[Prepared | BaseException | None] = SimpleQueue()
        may_prepare, left = threading.Semaphore(self.depth), threading.Event()

        def prepare() -> None:
            try:
                minibatches = self._prepare_all(seed)
                while True:
                    may_prepare.acquire()
                    if left.is_set() or (prepared := next(minibatches, None)) is None:
                        break
                    ready.put(prepared)
                ready.put(None)
            except BaseException as error:
                ready.put(error)

        thread = threading.Thread(target=prepare, name="prepare", daemon=True)
        thread.start()
        try:
            while (prepared := ready.get()) is not None:
                if isinstance(prepared, BaseException):
                    raise prepared
                may_prepare.release()
                yield prepared
        finally:  # also where the caller breaks off in the middle of an epoch
            left.set()
            may_prepare.release()
            thread.join()
