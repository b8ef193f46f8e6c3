"""Loading a trace: each trainer's stream of dense ids, and its measured times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import psutil
from numpy.typing import NDArray

from sim.compiled import kernel
from sim.workload.stream import EpochStream, Stream, Universe, UniverseKind
from traces.nodes import Nodes
from traces.reader import Epoch, Trace


@dataclass(frozen=True, slots=True, eq=False)
class TrainerInput:
    """One trainer's captured run. If another trainer has more minibatches an epoch, empty ones are added at the end.

    `owner_of` (int16) is the partition that owns each node of the stream's universe; `owner_rows` (int64, shape
    (minibatches, partitions)) counts the remote rows of every minibatch by owner. `times` holds the measured columns
    of `traces.schema` in seconds, shape (minibatches,), `local_rows` counts the rows that the host itself owned, and
    `sampled_edges` those over all layers.
    """

    rank: int
    partition: int
    stream: Stream
    owner_of: NDArray[np.int16]
    owner_rows: NDArray[np.int64]
    local_rows: NDArray[np.int64]
    sampled_edges: NDArray[np.int64]
    times: dict[str, NDArray[np.float64]]

    def head(self, minibatches: int) -> TrainerInput:
        """The first minibatches only; nothing is copied."""
        return TrainerInput(
            rank=self.rank,
            partition=self.partition,
            stream=self.stream.head(minibatches),
            owner_of=self.owner_of,
            owner_rows=self.owner_rows[:minibatches],
            local_rows=self.local_rows[:minibatches],
            sampled_edges=self.sampled_edges[:minibatches],
            times={name: values[:minibatches] for name, values in self.times.items()},
        )


def load(trace: Trace, universe: UniverseKind, streamed: bool | None = None) -> list[TrainerInput]:
    """All trainers of a trace, in rank order.

    `streamed` leaves the ids in the file, from which they are read an epoch at a time as a run goes: slower,
    but in bounded memory. By default, where they would take more than half of the memory that is free.
    """
    if streamed is None:
        streamed = trace.remote_rows * 4 > psutil.virtual_memory().available // 2
    ranks = range(trace.header.trainers)
    parts = {trace.header.partition_of(rank) for rank in ranks}
    universes = {part: make_universe(trace.nodes(part), universe) for part in parts}
    return [_load_trainer(trace, universes[trace.header.partition_of(rank)], rank, streamed) for rank in ranks]


def _load_trainer(trace: Trace, universe: Universe, rank: int, streamed: bool) -> TrainerInput:
    parts, per_epoch = trace.header.partition.parts, trace.header.minibatches_per_epoch
    book = np.asarray(trace.header.partition.offsets)
    owner_of = (np.searchsorted(book, universe.node_ids, side="right") - 1).astype(np.int16)
    minibatches = trace.minibatches
    kept: list[NDArray[np.int32]] = []
    columns: dict[str, list[NDArray]] = {}
    remote, cacheable, halo = (np.zeros(minibatches, np.int64) for _ in range(3))
    owner_rows = np.zeros((minibatches, parts), np.int64)
    for epoch in map(partial(_padded, minibatches=per_epoch), trace.epochs(rank)):
        dense = np.empty(len(epoch.ids), np.int32)
        now = slice(epoch.epoch * per_epoch, (epoch.epoch + 1) * per_epoch)
        remote[now] = np.diff(epoch.offsets)
        found = densify(
            epoch.ids, epoch.offsets, universe.node_ids, universe.local_degrees, book, dense,
            cacheable[now], halo[now], owner_rows[now],
        )  # fmt: skip
        for name, values in epoch.columns.items():
            columns.setdefault(name, []).append(values)
        if not streamed:
            kept.append(dense[:found])
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    offsets = np.concatenate([[0], np.cumsum(cacheable)])
    stream = (
        EpochStream(universe, EpochIds(trace, rank, universe), per_epoch, offsets, remote, halo)
        if streamed
        else Stream(universe, np.concatenate(kept), offsets, remote, halo)
    )
    return TrainerInput(
        rank=rank,
        partition=trace.header.partition_of(rank),
        stream=stream,
        owner_of=owner_of,
        owner_rows=owner_rows,
        local_rows=joined["local_nodes"].astype(np.int64),
        sampled_edges=joined["sampled_edges"].astype(np.int64),
        times={name: values for name, values in joined.items() if name.endswith("_s")},
    )


def _padded(epoch: Epoch, minibatches: int) -> Epoch:
    """The epoch with empty minibatches appended, up to the number of the trainer that has most.

    While others go on, a trainer that has ended joins their all-reduce (`DistributedDataParallel.join`): it asks for
    nothing, computes nothing, and is never the slowest.
    """
    missing = minibatches - len(epoch.offsets) + 1
    if not missing:
        return epoch
    columns = {name: np.concatenate([one, np.zeros(missing, one.dtype)]) for name, one in epoch.columns.items()}
    over_s = epoch.columns["start_s"][-1] + epoch.columns["step_s"][-1]
    columns["start_s"][-missing:] = columns["prepare_start_s"][-missing:] = over_s
    offsets = np.concatenate([epoch.offsets, np.full(missing, epoch.offsets[-1])])
    return replace(epoch, offsets=offsets, columns=columns)


@dataclass(frozen=True, slots=True, eq=False)
class EpochIds:
    """Reads the dense ids of one trainer's epochs."""

    trace: Trace
    rank: int
    universe: Universe

    def __call__(self, epoch: int) -> NDArray[np.int32]:
        """The cacheable ids of an epoch, minibatch after minibatch."""
        dense = dense_ids(self.universe, self.trace.ids(self.rank, epoch))
        return dense[dense >= 0]


def dense_ids(universe: Universe, node_ids: NDArray[np.int64]) -> NDArray[np.int32]:
    """The dense ids of nodes; -1 for those outside the universe."""
    if not universe.rows:
        return np.full(len(node_ids), -1, np.int32)
    found = np.searchsorted(universe.node_ids, node_ids)
    np.minimum(found, universe.rows - 1, out=found)
    dense = found.astype(np.int32)
    dense[universe.node_ids[found] != node_ids] = -1
    return dense


def make_universe(nodes: Nodes, kind: UniverseKind) -> Universe:
    """The nodes that a trainer may cache: its partition's halo, or all remote nodes that the trace lists.

    A trace lists the halo and other nodes that are likely to be requested; all other rows are always missed. So the
    universe is known before a run starts, and is the same in the simulator and live.
    """
    kept = nodes.local_degrees > 0 if kind == "halo" else np.ones(len(nodes.node_ids), np.bool_)
    vip = None if nodes.vip is None else nodes.vip[kept]
    degrees, local_degrees = nodes.degrees[kept].astype(np.int64), nodes.local_degrees[kept].astype(np.int64)
    return Universe(kind, nodes.node_ids[kept], degrees, local_degrees, vip)


@kernel
def densify(ids, offsets, node_ids, local_degrees, book, dense, cacheable, halo, owner_rows):  # type: ignore[no-untyped-def]
    """Map one epoch's ids to dense ids, in one pass; returns how many are in the universe, which `dense` then holds.

    Also counts each minibatch's rows in the universe, in the halo, and by owner. Ids of a minibatch and of the universe
    are sorted, so each is found by exponential search from the place of the one before.
    """
    count, rows = 0, len(node_ids)
    for minibatch in range(len(offsets) - 1):
        at = owner = 0
        for i in range(offsets[minibatch], offsets[minibatch + 1]):
            node = ids[i]
            while node >= book[owner + 1]:
                owner += 1
            owner_rows[minibatch, owner] += 1
            step, high = 1, at
            while high < rows and node_ids[high] < node:
                at, high, step = high + 1, high + step, 2 * step
            high = min(high, rows)
            while at < high:
                middle = (at + high) // 2
                if node_ids[middle] < node:
                    at = middle + 1
                else:
                    high = middle
            if at < rows and node_ids[at] == node:
                dense[count] = at
                count += 1
                cacheable[minibatch] += 1
                halo[minibatch] += local_degrees[at] > 0
    return count
