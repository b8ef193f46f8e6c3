"""Recording a trainer's run with little overhead: during an epoch only clock readings and references are kept.

Everything that takes time (finding the remote ids, sorting, compressing, writing) happens between epochs. Every epoch
is written to a file of its own and renamed when complete, so that a crash loses at most the epoch in progress.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from traces.schema import TIMES
from traces.writer import minibatch_table

READY = "gradients_ready_s"
"""A column of fragments only: when a trainer's gradients were ready, on the common clock. Waiting is found from it."""

LOSS = "loss"
"""A column of fragments only: the loss of this trainer's seeds."""

MODEL_FILE = "model.json"
"""The file in which rank 0 describes the model, beside the fragments."""

SCORES_FILE = "scores.jsonl"
"""One line an evaluation: the epoch, and the score of each split."""


READINGS = ("start_s", "prepare_start_s")
"""Times of the schema that are clock readings, not durations."""

QUICKLY: dict[str, Any] = {
    "compression": "lz4",
    "use_dictionary": False,
    "write_statistics": False,
    "column_encoding": {"remote_ids.list.element": "DELTA_BINARY_PACKED"},
}
"""How fragments are written: fast. The trace itself is compressed better."""


@dataclass(slots=True)
class Step:
    """One minibatch as it was measured: ids (a torch tensor or array, any order), counts, and seconds by column.

    `start_s`, `prepare_start_s` and `gradients_ready_s` are readings of this trainer's own clock. What isn't known is
    None.
    """

    input_nodes: Any
    counts: dict[str, int]
    times: Mapping[str, float | None]
    owner_done_s: list[float] | None
    gradients_ready_s: float | None
    loss: float | None


class Recorder:
    """Writes the fragments of one trainer: `rank{r}-epoch{e}.parquet` in `directory`.

    `owned` is the range of partition-global ids that the trainer's partition owns. `clock_offset_s` is added to clock
    readings. `seconds` adds up the time spent between `add` and return: what recording costs within an epoch.
    """

    def __init__(
        self, directory: Path, rank: int, partition: int, owned: tuple[int, int], clock_offset_s: float = 0.0
    ) -> None:
        self.directory, self.rank, self.partition, self.owned = directory, rank, partition, owned
        self._clock_offset_s = clock_offset_s
        self.seconds = 0.0
        self._steps: list[Step] = []

    def add(self, step: Step) -> None:
        """Keep one minibatch."""
        start = perf_counter()
        self._steps.append(step)
        self.seconds += perf_counter() - start

    def end_epoch(self, epoch: int) -> None:
        """Write the epoch's fragment; call it outside of what is measured."""
        rows: dict[str, Any] = {"remote_ids": [], "local_nodes": [], "input_nodes": [], "owner_done_s": []}
        lower, upper = self.owned
        for step in self._steps:
            ids = np.asarray(step.input_nodes)
            remote = np.sort(ids[(ids < lower) | (ids >= upper)])
            rows["remote_ids"].append(remote)
            rows["input_nodes"].append(len(ids))
            rows["local_nodes"].append(len(ids) - len(remote))
            rows["owner_done_s"].append(step.owner_done_s)
        for name in self._steps[0].counts if self._steps else ():
            rows[name] = [step.counts[name] for step in self._steps]
        for name in TIMES:
            offset_s = self._clock_offset_s if name in READINGS else 0.0
            rows[name] = [_later(step.times.get(name), offset_s) for step in self._steps]
        table = minibatch_table(self.partition, self.rank, epoch, rows)
        ready = pa.array([_later(step.gradients_ready_s, self._clock_offset_s) for step in self._steps], pa.float64())
        loss = pa.array([step.loss for step in self._steps], pa.float64())
        path = fragment(self.directory, self.rank, epoch)
        partial = path.with_suffix(".partial")
        table = table.append_column(READY, ready).append_column(LOSS, loss)
        pq.write_table(table, partial, **QUICKLY)
        os.replace(partial, path)
        self._steps.clear()


def _later(reading: float | None, offset_s: float) -> float | None:
    return None if reading is None else reading + offset_s


def fragment(directory: Path, rank: int, epoch: int) -> Path:
    """Where the fragment of a trainer's epoch lies."""
    return directory / f"rank{rank}-epoch{epoch}.parquet"
