"""The remote nodes of a partition, as a trace holds them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Nodes:
    """Remote nodes of one partition, by ascending partition-global id; arrays of shape (nodes,).

    `degrees` counts edges out of a node in the whole graph, `local_degrees` those into this partition: above 0 exactly
    inside the 1-hop halo. `vip` is the probability of being an input node of one minibatch, None if not computed.
    """

    node_ids: NDArray[np.int64]
    degrees: NDArray[np.int32]
    local_degrees: NDArray[np.int32]
    vip: NDArray[np.float32] | None

    def save(self, path: Path) -> None:
        """Write the nodes to an `.npz` file."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})

    @classmethod
    def load(cls, path: Path) -> Nodes:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(arrays["node_ids"], arrays["degrees"], arrays["local_degrees"], arrays.get("vip"))
