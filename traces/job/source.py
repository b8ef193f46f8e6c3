"""Minibatches that are prepared ahead, between a loader and its script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from traces.capture.fetch import FetchTimes
from traces.job.sampled import Sampled


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A minibatch that was sampled and whose rows were fetched before the script asked for it.

    `item` is what the loader returned; `rows` has a row an input node, by the names of the store. Preparing began at
    `prepare_start_s` (a reading of `perf_counter`), sampling and fetching took as long as they say, and copying rows in
    and out of a buffer `copy_s`.
    """

    item: Any
    sampled: Sampled
    rows: dict[str, torch.Tensor]
    prepare_start_s: float
    sample_s: float
    fetch_s: float
    copy_s: float
    fetch: FetchTimes


class Source(Protocol):
    """Prepares the minibatches of one loader."""

    def begin(self) -> None:
        """The loader has begun an epoch; minibatches left from the one before are dropped."""

    def take(self) -> Ready:
        """The next minibatch. Raises `StopIteration` at the end of the epoch."""

    def stepped(self, stall_s: float, step_s: float) -> None:
        """A step has ended: what it waited for its minibatch, and its length."""

    def serves(self, key: str) -> bool:
        """Whether rows of the data that the store calls `key` may come out of a buffer."""


MakeSource = Callable[[Any], "Source | None"]
"""Makes the source of a loader before its first epoch, or returns None to leave the loader alone."""
