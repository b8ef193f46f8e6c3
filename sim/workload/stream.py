"""The rows that one trainer requests, as dense ids: the input of every cache.

Neighbour sampling never looks at the feature cache, so this stream is the same under every policy; hit counts over it
are exact. A trace's partition-global ids are mapped once to dense ids 0, 1, ... of a universe of cacheable nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

UniverseKind = Literal["halo", "remote"]


@dataclass(frozen=True, eq=False)
class Universe:
    """The nodes that one trainer may cache, in ascending order of their partition-global ids.

    Dense id i stands for `node_ids[i]` (int64). `degrees` (int64) are the nodes' out-degrees in the whole graph,
    `local_degrees` the edges that they feed into the trainer's partition (above 0 exactly inside the halo), `vip`
    (float32, or None where the trace has none) their probability of being an input node of one minibatch.
    """

    kind: UniverseKind
    node_ids: NDArray[np.int64]
    degrees: NDArray[np.int64]
    local_degrees: NDArray[np.int64]
    vip: NDArray[np.float32] | None

    @property
    def rows(self) -> int:
        """Number of cacheable nodes."""
        return len(self.node_ids)

    @cached_property
    def halo_rows(self) -> int:
        """Number of nodes inside the halo. A capacity given as a share refers to it in both universes."""
        return int(np.count_nonzero(self.local_degrees))

    @cached_property
    def degree_order(self) -> NDArray[np.int32]:
        """All dense ids by local degree, then by degree, highest first; ties by id. Shape (rows,), read-only."""
        # one stable sort by both, as a trace's degrees are int32; np.lexsort would sort once for each
        order = np.argsort(-((self.local_degrees << 32) + self.degrees), kind="stable").astype(np.int32)
        order.flags.writeable = False
        return order

    @cached_property
    def global_degree_order(self) -> NDArray[np.int32]:
        """All dense ids by degree in the whole graph, highest first; ties by id. Shape (rows,), read-only."""
        order = np.argsort(-self.degrees, kind="stable").astype(np.int32)
        order.flags.writeable = False
        return order

    @cached_property
    def degree_rank(self) -> NDArray[np.int32]:
        """Every row's place in `degree_order`. Shape (rows,), read-only."""
        rank = np.empty(self.rows, np.int32)
        rank[self.degree_order] = np.arange(self.rows, dtype=np.int32)
        rank.flags.writeable = False
        return rank


@dataclass(eq=False)
class Stream:
    """The remote rows that one trainer asked for, minibatch by minibatch.

    Minibatch m asks for `ids[offsets[m]:offsets[m + 1]]` (int32 dense ids, ascending, distinct): its cacheable rows.
    `remote_rows[m]` counts all its remote rows, also those outside the universe (always missed), `halo_rows[m]` those
    inside the halo.
    """

    universe: Universe
    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    remote_rows: NDArray[np.int64]
    halo_rows: NDArray[np.int64]

    @property
    def minibatches(self) -> int:
        """Number of minibatches."""
        return len(self.offsets) - 1

    def minibatch(self, index: int) -> NDArray[np.int32]:
        """The cacheable ids of one minibatch: a view."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def head(self, minibatches: int) -> Stream:
        """The first minibatches only; nothing is copied."""
        return Stream(
            universe=self.universe,
            ids=self.ids[: self.offsets[min(minibatches, self.minibatches)]],
            offsets=self.offsets[: minibatches + 1],
            remote_rows=self.remote_rows[:minibatches],
            halo_rows=self.halo_rows[:minibatches],
        )


class EpochStream(Stream):
    """A stream that keeps the ids of one epoch in memory, and reads them when they are needed.

    `read_epoch(epoch)` gives the ids of an epoch. Bounds, which must know the whole future, still ask for all `ids`.
    """

    def __init__(
        self,
        universe: Universe,
        read_epoch: Callable[[int], NDArray[np.int32]],
        minibatches_per_epoch: int,
        offsets: NDArray[np.int64],
        remote_rows: NDArray[np.int64],
        halo_rows: NDArray[np.int64],
    ) -> None:
        self._read_epoch, self._per_epoch = read_epoch, minibatches_per_epoch
        self._epoch, self._held = -1, np.empty(0, np.int32)
        self.universe, self.offsets, self.remote_rows, self.halo_rows = universe, offsets, remote_rows, halo_rows

    @property
    def ids(self) -> NDArray[np.int32]:  # type: ignore[override]
        """All ids, read anew: as large as the run."""
        return np.concatenate([self._read_epoch(epoch) for epoch in range(self.minibatches // self._per_epoch)])

    def minibatch(self, index: int) -> NDArray[np.int32]:
        """The cacheable ids of one minibatch: a view."""
        epoch = index // self._per_epoch
        if epoch != self._epoch:
            self._held = np.empty(0, np.int32)  # freed before the next epoch is read
            self._held, self._epoch = self._read_epoch(epoch), epoch
        before = self.offsets[epoch * self._per_epoch]
        return self._held[self.offsets[index] - before : self.offsets[index + 1] - before]

    def head(self, minibatches: int) -> Stream:
        """The first minibatches only: whole epochs."""
        return EpochStream(
            self.universe,
            self._read_epoch,
            self._per_epoch,
            self.offsets[: minibatches + 1],
            self.remote_rows[:minibatches],
            self.halo_rows[:minibatches],
        )
