"""What one trainer asks for, as dense ids: the input of every cache.

Neighbour sampling never looks at the feature cache, so this stream is the same under every policy; hit counts over it
are exact. A trace's partition-global ids are mapped once to dense ids 0, 1, ... of a universe of cacheable nodes.
"""

from __future__ import annotations

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
        """Number of them inside the halo: what a capacity given as a share refers to, in either universe."""
        return int(np.count_nonzero(self.local_degrees))

    @cached_property
    def degree_order(self) -> NDArray[np.int32]:
        """All dense ids by local degree, then by degree, highest first; ties by id. Shape (rows,), read-only."""
        order = np.lexsort((np.arange(self.rows), -self.degrees, -self.local_degrees)).astype(np.int32)
        order.flags.writeable = False
        return order


@dataclass(frozen=True, slots=True, eq=False)
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
