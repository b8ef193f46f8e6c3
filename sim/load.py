"""From a trace to what the simulator needs of each trainer: its stream of dense ids, and the measured times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.stream import Stream, Universe, UniverseKind
from traces.nodes import Nodes
from traces.reader import Epoch, Trace


@dataclass(frozen=True, slots=True, eq=False)
class TrainerInput:
    """One trainer's run as it was captured.

    `owner_of` (int16) is the partition that owns each node of the stream's universe; `owner_rows` (int64, shape
    (minibatches, partitions)) counts the remote rows of every minibatch by owner. `times` holds the measured columns
    of `traces.schema` in seconds, shape (minibatches,), and `local_rows` the rows that the host itself owned.
    """

    rank: int
    partition: int
    stream: Stream
    owner_of: NDArray[np.int16]
    owner_rows: NDArray[np.int64]
    local_rows: NDArray[np.int64]
    times: dict[str, NDArray[np.float64]]

    def head(self, minibatches: int) -> TrainerInput:
        """The first minibatches only; nothing is copied."""
        stream = self.stream
        shorter = Stream(
            universe=stream.universe,
            ids=stream.ids[: stream.offsets[min(minibatches, stream.minibatches)]],
            offsets=stream.offsets[: minibatches + 1],
            remote_rows=stream.remote_rows[:minibatches],
            halo_rows=stream.halo_rows[:minibatches],
        )
        return TrainerInput(
            rank=self.rank,
            partition=self.partition,
            stream=shorter,
            owner_of=self.owner_of,
            owner_rows=self.owner_rows[:minibatches],
            local_rows=self.local_rows[:minibatches],
            times={name: values[:minibatches] for name, values in self.times.items()},
        )


def load(trace: Trace, universe: UniverseKind) -> list[TrainerInput]:
    """All trainers of a trace, in rank order."""
    nodes = {partition: trace.nodes(partition) for partition in range(trace.header.partition.parts)}
    return [
        _load_trainer(trace, nodes[trace.header.partition_of(rank)], rank, universe)
        for rank in range(trace.header.trainers)
    ]


def _load_trainer(trace: Trace, nodes: Nodes, rank: int, kind: UniverseKind) -> TrainerInput:
    epochs = list(trace.epochs(rank))
    requested = np.concatenate([epoch.ids for epoch in epochs])
    offsets = _joined_offsets(epochs)
    universe = make_universe(nodes, kind)
    dense_of = np.full(trace.header.partition.offsets[-1], -1, np.int32)
    dense_of[universe.node_ids] = np.arange(universe.rows, dtype=np.int32)
    dense = dense_of[requested]
    in_universe = dense >= 0
    in_halo = np.zeros(len(requested), np.bool_)
    in_halo[in_universe] = universe.local_degrees[dense[in_universe]] > 0
    book = np.asarray(trace.header.partition.offsets)
    owners = (np.searchsorted(book, requested, side="right") - 1).astype(np.int16)
    minibatches, parts = len(offsets) - 1, trace.header.partition.parts
    minibatch_of = np.repeat(np.arange(minibatches), np.diff(offsets))
    owner_rows = np.bincount(minibatch_of * parts + owners, minlength=minibatches * parts).reshape(minibatches, parts)
    columns = {name: np.concatenate([epoch.columns[name] for epoch in epochs]) for name in epochs[0].columns}
    stream = Stream(
        universe=universe,
        ids=dense[in_universe],
        offsets=_count_before(in_universe)[offsets],
        remote_rows=np.diff(offsets),
        halo_rows=np.diff(_count_before(in_halo)[offsets]),
    )
    return TrainerInput(
        rank=rank,
        partition=trace.header.partition_of(rank),
        stream=stream,
        owner_of=(np.searchsorted(book, universe.node_ids, side="right") - 1).astype(np.int16),
        owner_rows=owner_rows,
        local_rows=columns["local_nodes"].astype(np.int64),
        times={name: values for name, values in columns.items() if name.endswith("_s")},
    )


def make_universe(nodes: Nodes, kind: UniverseKind) -> Universe:
    """The nodes that a trainer may cache: its partition's halo, or all remote nodes that the trace lists.

    A trace lists the halo and whatever else is likely to be asked for; the few rows beyond that are always missed. So
    the universe is known before a run starts, and is the same in the simulator and on the cluster.
    """
    kept = nodes.local_degrees > 0 if kind == "halo" else np.ones(len(nodes.node_ids), np.bool_)
    vip = None if nodes.vip is None else nodes.vip[kept]
    degrees, local_degrees = nodes.degrees[kept].astype(np.int64), nodes.local_degrees[kept].astype(np.int64)
    return Universe(kind, nodes.node_ids[kept], degrees, local_degrees, vip)


def _joined_offsets(epochs: list[Epoch]) -> NDArray[np.int64]:
    sizes = np.concatenate([np.diff(epoch.offsets) for epoch in epochs])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _count_before(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many flags are set before each position, and in all: shape (len(flags) + 1,)."""
    return np.concatenate([[0], np.cumsum(flags, dtype=np.int64)])
