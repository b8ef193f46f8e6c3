"""Joining the trainers' fragments into one trace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.capture.recorder import READY, fragment
from traces.errors import InputError
from traces.header import Header, NodeType, OverheadInfo
from traces.nodes import Nodes
from traces.schema import SCHEMA
from traces.writer import TraceWriter


def complete_epochs(fragments: Path, trainers: int) -> int:
    """The number of epochs that every trainer finished, counted from the first."""
    epoch = 0
    while all(fragment(fragments, rank, epoch).is_file() for rank in range(trainers)):
        epoch += 1
    return epoch


def assemble(path: Path, header: Header, nodes: Iterable[Nodes], fragments: Path) -> Header:
    """Write the trace of all whole epochs in `fragments` to `path`, and return the header it got.

    Sets `header.epochs`, the minibatches of an epoch, and `complete` by the fragments: a run that died in its fifth
    epoch, or whose fifth epoch has fewer minibatches, gives four epochs, marked incomplete. Raises `InputError` where
    there is no whole epoch.
    """
    epochs, ranks = complete_epochs(fragments, header.trainers), range(header.trainers)
    if epochs == 0:
        raise InputError(f"{fragments}: no epoch that all {header.trainers} trainers finished, so there is no trace")
    lengths = [[_minibatches(fragment(fragments, rank, epoch)) for rank in ranks] for epoch in range(epochs)]
    epochs = next((epoch for epoch in range(epochs) if lengths[epoch] != lengths[0]), epochs)
    origin = min(pc.min(pq.read_table(fragment(fragments, rank, 0))["start_s"]).as_py() for rank in ranks)
    header = header.model_copy(
        update={
            "epochs": epochs,
            "minibatches_per_epoch": max(lengths[0]),
            "trainer_minibatches": tuple(lengths[0]) if len(set(lengths[0])) > 1 else (),
            "complete": header.complete and epochs >= max(header.epochs, len(lengths)),
        }
    )
    with TraceWriter(path, header) as writer:
        for partition, of_partition in enumerate(nodes):
            writer.write_nodes(partition, of_partition)
        rows = np.zeros(len(header.node_types), np.int64)
        for epoch in range(epochs):
            tables = [pq.read_table(fragment(fragments, rank, epoch)) for rank in range(header.trainers)]
            for table in _on_common_clock(tables, origin):
                writer.write_epoch(table)
                rows += rows_by_type(header.node_types, pc.list_flatten(table["remote_ids"]).to_numpy())
        asked = [{"remote_rows": int(count)} for count in rows]
        types = [one.model_copy(update=new) for one, new in zip(header.node_types, asked, strict=True)]
        header = writer.header = header.model_copy(update={"node_types": tuple(types)})
    return header


def _on_common_clock(tables: list[pa.Table], origin: float) -> Iterable[pa.Table]:
    """Shift start times to begin at `origin`, and separate waiting for the slowest trainer from the all-reduce itself.

    If any trainer didn't record when its gradients were ready, both are unknown for all.
    """
    slowest = np.full(max(map(len, tables)), -np.inf)
    for table in tables:
        np.maximum(slowest[: len(table)], table[READY].to_numpy(), out=slowest[: len(table)])
    for table in tables:
        ready, synchronised = table[READY].to_numpy(), table["allreduce_s"].to_numpy()
        waited = np.minimum(slowest[: len(table)] - ready, synchronised)
        replaced = {
            "start_s": table["start_s"].to_numpy() - origin,
            "prepare_start_s": table["prepare_start_s"].to_numpy() - origin,
            "wait_s": waited,
            "allreduce_s": synchronised - waited,
        }
        columns = [
            pa.array(np.maximum(replaced[name], 0.0), from_pandas=True) if name in replaced else table[name]
            for name in SCHEMA.names
        ]
        yield pa.Table.from_arrays(columns, schema=SCHEMA)


def rows_by_type(types: Sequence[NodeType], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the ids are nodes of each type. Shape (types,)."""
    return np.array(
        [sum(int(np.count_nonzero((ids >= low) & (ids < high))) for low, high in one.ranges) for one in types], np.int64
    )


def _minibatches(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def overhead(measured: dict[str, Any]) -> OverheadInfo | None:
    """The overhead of recording, from the step times of interleaved minibatches; None if there are too few pairs.

    The two lists are paired in order of time. The standard error is that of the mean difference over the mean plain
    step. The first pair, still warming up, is left out.
    """
    pairs = min(len(measured["recorded"]), len(measured["plain"])) - 1
    if pairs < 2:
        return None
    recorded = np.array(measured["recorded"][1 : pairs + 1])
    plain = np.array(measured["plain"][1 : pairs + 1])
    difference = recorded - plain
    return OverheadInfo(
        step_share=float(difference.mean() / plain.mean()),
        step_share_standard_error=float(difference.std(ddof=1) / math.sqrt(pairs) / plain.mean()),
        pairs=pairs,
        recorder_share=float(measured["recorder_s"] / sum(measured["recorded"])),
    )
