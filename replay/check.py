"""Comparing every row from a buffer with its owner's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from replay.buffered import BufferedStore
from traces.capture.fetch import FetchTimes, Rows


class WrongRow(RuntimeError):
    """A row that differs from its owner's: the message names node and feature."""


class VerifyingStore:
    """A buffered store that pulls all rows a second time, directly, and compares them bit for bit.

    `tensors` are the DistTensors that the store was made of. Counts `checked_rows`; its fetches take twice as long.
    """

    def __init__(self, store: BufferedStore, tensors: dict[str, Any]) -> None:
        self._store, self._tensors = store, tensors
        self.fill_s = store.fill_s
        self.checked_rows = 0
        # DGL's own pull draws from the generator of its thread, as sampling does: checking must change no sample
        self._apart = ThreadPoolExecutor(1, "check")

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """The store's rows. Raises `WrongRow`."""
        rows, times = self._store.fetch(input_nodes)
        for name, tensor in self._tensors.items():
            direct = self._apart.submit(tensor.__getitem__, input_nodes).result()
            differs = (_bytes(rows[name]) != _bytes(direct)).any(1)
            if differs.any():
                node = int(input_nodes[differs][0])
                raise WrongRow(f"feature {name!r} of node {node} (partition-global id) is not its owner's row")
        self.checked_rows += len(input_nodes)
        return rows, times

    @property
    def looks_further(self) -> bool:
        """As the store."""
        return self._store.looks_further

    def foresee(self, input_nodes: torch.Tensor, sampled_bytes: int) -> None:
        """As the store."""
        self._store.foresee(input_nodes, sampled_bytes)

    def begin_epoch(self) -> None:
        """As the store."""
        self._store.begin_epoch()

    def stepped(self, stall_s: float, step_s: float) -> None:
        """As the store."""
        self._store.stepped(stall_s, step_s)

    def end_epoch(self, epoch: int) -> None:
        """As the store."""
        self._store.end_epoch(epoch)


def _bytes(rows: torch.Tensor) -> torch.Tensor:
    """Shape (rows, bytes): equal bits, and not numbers that compare equal."""
    return rows.contiguous().view(len(rows), -1).view(torch.uint8)
