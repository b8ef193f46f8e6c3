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
    """How one fetch went: seconds from its start, and what a buffer did for it (nothing, where there is none).

    `buffer_s` is what looking up the buffer took before the fetch and filling its slots after it, `decide_s` how long
    the fetch waited for a policy; neither counts as fetching.
    """

    local_gather_s: float = 0.0
    buffer_s: float = 0.0
    decide_s: float = 0.0
    owner_done_s: list[float] = field(default_factory=list)
    hit_rows: int = 0
    replacement_rows: int = 0


Rows = dict[str, torch.Tensor]
"""Rows of several node features by name; tensors of shape (nodes, ...), all in the same order of nodes."""


Arrays = dict[str, NDArray[Any]]
"""The same as arrays."""


class FeatureSource(Protocol):
    """Where a trainer gets the features of its input nodes from.

    `fetch` runs in the thread that prepares minibatches; the others are told from the thread that trains.
    """

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """Rows of all input nodes, in the order of the ids, and how long their parts took."""

    def stepped(self, stall_s: float, step_s: float) -> None:
        """A step has ended: what it waited for its minibatch, and its length."""

    def end_epoch(self, epoch: int) -> None:
        """An epoch has ended, and no minibatch is being prepared."""


MakeSource = Callable[[Connection, dict[str, Any], int], FeatureSource]
"""Makes a trainer's source from its place in the cluster, the worker's arguments, and its minibatches an epoch."""


class DistStore:
    """Node features of a DistGraph, pulled from their owners: DistDGL without any buffer.

    `tensors` are DistTensors of node data by name, of any dtype that numpy knows; all lie on the same partitions.
    """

    def __init__(self, tensors: dict[str, Any]) -> None:
        policy = next(iter(tensors.values())).part_policy
        self._to_part, self._to_local = policy.to_partid, policy.to_local
        self._parts: int = policy.partition_book.num_partitions()
        self._own: int = policy.part_id
        self._keys = {name: tensor.kvstore_key for name, tensor in tensors.items()}
        # numpy moves rows with half of torch's overhead, and shares their memory
        self._local: Arrays = {name: t.local_partition.numpy() for name, t in tensors.items()}

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """All rows from their owners."""
        ids = input_nodes.numpy()
        rows = self.empty(len(ids))
        times = self.pull(ids, rows, np.arange(len(ids)))
        return {name: torch.from_numpy(array) for name, array in rows.items()}, times

    def empty(self, count: int) -> Arrays:
        """Room for `count` rows of each feature."""
        return {name: np.empty((count, *local.shape[1:]), local.dtype) for name, local in self._local.items()}

    def pull(
        self,
        ids: NDArray[np.int64],
        rows: Arrays,
        at: NDArray[np.int64],
        meanwhile: Callable[[str], None] = lambda name: None,
    ) -> FetchTimes:
        """Put the row of `ids[i]` into place `at[i]` of `rows`, one feature after another: a response doesn't say which
        one it is of. `meanwhile(name)` is called once a feature's requests are on their way."""
        start = perf_counter()
        times = FetchTimes(owner_done_s=[0.0] * self._parts)
        owner = self._to_part(torch.from_numpy(ids)).numpy()
        of_part = [np.flatnonzero(owner == part) for part in range(self._parts)]
        asked = [part for part in range(self._parts) if part != self._own and len(of_part[part])]
        own = of_part[self._own]
        local_ids = self._to_local(torch.from_numpy(ids[own])).numpy()
        servers = rpc.get_num_server_per_machine()
        for name, key in self._keys.items():
            for part in asked:
                rpc.send_request_to_machine(part, PullRequest(key, torch.from_numpy(ids[of_part[part]])))
            gather = perf_counter()
            rows[name][at[own]] = self._local[name].take(local_ids, axis=0)
            meanwhile(name)
            times.local_gather_s += perf_counter() - gather
            for _ in asked:
                response = rpc.recv_response()
                part = response.server_id // servers
                rows[name][at[of_part[part]]] = response.data_tensor.numpy()
                times.owner_done_s[part] = perf_counter() - start
        return times

    def stepped(self, stall_s: float, step_s: float) -> None:
        """Nothing here depends on it."""

    def end_epoch(self, epoch: int) -> None:
        """Nothing is kept."""
