"""The columns of a trace, and their constraints. `traces/README.md` describes them for people.

One parquet file. First the row groups of `record = "nodes"`: the remote nodes of a partition. Then one row group an
epoch a trainer with `record = "minibatch"`: its minibatches in order. Columns of the other record are null.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from traces.header import Header

HEADER_KEY = b"rudder_twin"

TIMES = {
    "start_s": "when the trainer turned to this minibatch, on the run's common clock",
    "prepare_start_s": "when its preparation (sampling) began, on the same clock",
    "stall_s": "waiting for the prepared minibatch: all of sample, fetch and copy where nothing is pipelined",
    "sample_s": "neighbour sampling; where minibatches are sampled ahead, all that was sampled in this one's turn",
    "fetch_s": "feature fetch, from the first request to the last row in place",
    "local_gather_s": "the part of fetch_s that gathered this machine's own rows, and those that a buffer held",
    "label_s": "fetching the labels of the seeds",
    "copy_s": "copying to the training device, and looking up and filling the buffer of a live run",
    "forward_s": "forward pass",
    "backward_s": "backward pass, until this trainer's gradients were ready",
    "wait_s": "waiting until the slowest trainer's gradients were ready",
    "allreduce_s": "from then until the summed gradients were there",
    "update_s": "optimizer step",
    "step_s": "the whole minibatch, from start_s to the end of the update",
}
"""Every measured time of a minibatch, in seconds. A time that the run didn't record is null in all minibatches of a row
group."""

COUNTS = {
    "seeds": "seed nodes",
    "input_nodes": "distinct input nodes",
    "local_nodes": "the part of them that this machine owns",
    "sampled_edges": "sampled edges over all layers",
    "hit_rows": "remote rows that a buffer held (0 where the captured run had none)",
    "replacement_rows": "rows fetched into the buffer beside the misses",
}

SCHEMA = pa.schema(
    [
        pa.field("record", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        # record = "nodes": one or more rows a partition, ids ascending over all of them
        pa.field("node_ids", pa.list_(pa.int64())),
        pa.field("degrees", pa.list_(pa.int32())),
        pa.field("local_degrees", pa.list_(pa.int32())),
        pa.field("vip", pa.list_(pa.float32())),
        # record = "minibatch"
        pa.field("rank", pa.int32()),
        pa.field("epoch", pa.int32()),
        pa.field("minibatch", pa.int32()),
        pa.field("remote_ids", pa.list_(pa.int64())),
        *(pa.field(name, pa.int64()) for name in COUNTS),
        *(pa.field(name, pa.float64()) for name in TIMES),
        pa.field("owner_done_s", pa.list_(pa.float64())),
    ]
)


def ascending(ids: NDArray[np.int64], offsets: NDArray[np.int64]) -> bool:
    """Whether the ids are strictly ascending within each list that `offsets` marks off."""
    if len(ids) < 2:
        return True
    rising = ids[1:] > ids[:-1]
    inner = offsets[1:-1]
    rising[inner[(inner > 0) & (inner < len(ids))] - 1] = True
    return bool(rising.all())


def node_fault(
    header: Header, partition: int, ids: NDArray[np.int64], lengths: dict[str, int], local_degrees: NDArray[np.int32]
) -> str | None:
    """What is wrong with a partition's nodes, as "column: reason", or None."""
    for name, length in lengths.items():
        if length != len(ids):
            return f"column {name}: {length} values for {len(ids)} node_ids"
    if not ascending(ids, np.array([0, len(ids)])):
        return "column node_ids: not strictly ascending"
    if fault := _remote_fault(header, partition, ids):
        return f"column node_ids: {fault}"
    if len(local_degrees) and int(local_degrees.min()) < 0:
        return "column local_degrees: below 0"
    return None


def minibatch_fault(
    header: Header,
    partition: int,
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    counts: dict[str, NDArray[np.int64]],
    times: dict[str, NDArray[np.float64]],
    owner_lengths: NDArray[np.int64] | None,
) -> str | None:
    """What is wrong with one epoch of one trainer, as "column: reason", or None. Times that weren't recorded are left
    out."""
    if not ascending(ids, offsets):
        return "column remote_ids: not strictly ascending within a minibatch"
    if fault := _remote_fault(header, partition, ids):
        return f"column remote_ids: {fault}"
    for name, values in counts.items():
        if len(values) and int(values.min()) < 0:
            return f"column {name}: below 0"
    remote = np.diff(offsets)
    if not np.array_equal(counts["local_nodes"] + remote, counts["input_nodes"]):
        return "column input_nodes: not the sum of local_nodes and the number of remote_ids"
    for name, seconds in times.items():
        if not np.isfinite(seconds).all() or (len(seconds) and float(seconds.min()) < 0):
            return f"column {name}: a time that is negative or not a finite number"
    if owner_lengths is not None and not (owner_lengths == header.partition.parts).all():
        return f"column owner_done_s: not {header.partition.parts} values (one a partition) in every minibatch"
    return None


def _remote_fault(header: Header, partition: int, ids: NDArray[np.int64]) -> str | None:
    if not len(ids):
        return None
    lower, upper = header.partition.offsets[partition], header.partition.offsets[partition + 1]
    if int(ids.min()) < 0 or int(ids.max()) >= header.partition.offsets[-1]:
        return f"an id outside 0 to {header.partition.offsets[-1] - 1}"
    if bool(((ids >= lower) & (ids < upper)).any()):
        return f"an id that partition {partition} owns itself, so not a remote one"
    return None
