"""Fetching features from DistDGL's store, with the time of every part.

DistDGL's own `pull` is one call into C++. This one does the same things in the same order (a request to every owner
back-to-back, the local gather while they are on their way, then the responses as they come, scattered one after
another) through DGL's public request classes, so that it can tell when each owner's rows were in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from dgl.distributed import rpc
from dgl.distributed.kvstore import PullRequest
from numpy.typing import NDArray

from traces.cluster.process import Connection


@dataclass(slots=True)
class FetchTimes:
    """How one fetch went: seconds from its start, and what a buffer did for it (nothing, where there is none)."""

    local_gather_s: float = 0.0
    owner_done_s: list[float] = field(default_factory=list)
    hit_rows: int = 0
    replacement_rows: int = 0


class FeatureSource(Protocol):
    """Where a trainer gets the features of its input nodes from."""

    def fetch(self, input_nodes: torch.Tensor) -> tuple[torch.Tensor, FetchTimes]:
        """Rows of shape (input nodes, feature_dim), in the order of the ids, and how long their parts took."""


MakeSource = Callable[[Connection, dict[str, Any], int], FeatureSource]
"""Makes a trainer's source from its place in the cluster, the worker's arguments, and its minibatches an epoch."""


class DistStore:
    """The node features of a DistGraph, pulled from their owners: DistDGL without any buffer."""

    def __init__(self, tensor: Any) -> None:
        self._name, self._policy = tensor.kvstore_key, tensor.part_policy
        self._parts: int = tensor.part_policy.partition_book.num_partitions()
        self._own: int = tensor.part_policy.part_id
        # numpy moves rows with half of torch's overhead, and shares their memory
        self._local: NDArray[Any] = tensor.local_partition.numpy()

    def fetch(self, input_nodes: torch.Tensor) -> tuple[torch.Tensor, FetchTimes]:
        """All rows from their owners."""
        start = perf_counter()
        times = FetchTimes(owner_done_s=[0.0] * self._parts)
        owner = self._policy.to_partid(input_nodes).numpy()
        places = [np.flatnonzero(owner == part) for part in range(self._parts)]
        ids = input_nodes.numpy()
        asked = [part for part in range(self._parts) if part != self._own and len(places[part])]
        for part in asked:
            rpc.send_request_to_machine(part, PullRequest(self._name, torch.from_numpy(ids[places[part]])))
        gather = perf_counter()
        rows = np.empty((len(ids), *self._local.shape[1:]), self._local.dtype)
        local = self._policy.to_local(torch.from_numpy(ids[places[self._own]])).numpy()
        rows[places[self._own]] = self._local.take(local, axis=0)
        times.local_gather_s = perf_counter() - gather
        servers = rpc.get_num_server_per_machine()
        for _ in asked:
            response = rpc.recv_response()
            part = response.server_id // servers
            rows[places[part]] = response.data_tensor.numpy()
            times.owner_done_s[part] = perf_counter() - start
        return torch.from_numpy(rows), times
