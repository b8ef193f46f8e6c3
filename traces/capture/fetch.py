"""Fetching features from DistDGL's store, with the time of every part.

DistDGL's own `pull` is one call into C++. This one does the same in the same order through DGL's public request
classes, and records when each owner's rows were in place: it sends one request to each owner, gathers local rows
meanwhile, and scatters the responses in the order in which they arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from dgl.distributed import rpc
from dgl.distributed.kvstore import PullRequest
from numpy.typing import NDArray

from traces.capture.ahead import LooksAhead, LooksNoFurther
from traces.cluster.process import Connection
from traces.job.lock import RPC


@dataclass(slots=True)
class FetchTimes:
    """The times of one fetch in seconds from its start, and the counts of a buffer (0 without one).

    `buffer_s` is the time of the buffer's look-up and of filling its slots, `decide_s` the time spent waiting for the
    policy; neither counts as fetching. `foresee_s` is the time of telling the buffer of minibatches that were sampled
    ahead; it counts neither as fetching nor as sampling.
    """

    local_gather_s: float = 0.0
    buffer_s: float = 0.0
    decide_s: float = 0.0
    foresee_s: float = 0.0
    owner_done_s: list[float] = field(default_factory=list)
    hit_rows: int = 0
    replacement_rows: int = 0


Rows = dict[str, torch.Tensor]
"""Rows of several node features by name; tensors of shape (nodes, ...), all in the same order of nodes."""


Arrays = dict[str, NDArray[Any]]
"""The same as arrays."""


class FeatureSource(LooksAhead, Protocol):
    """Where a trainer gets the features of its input nodes from.

    `fetch` and the methods of `LooksAhead` run in the thread that prepares minibatches; the other methods are called by
    the training thread.
    """

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """Rows of all input nodes, in the order of the ids, and how long their parts took."""

    def stepped(self, stall_s: float, step_s: float) -> None:
        """A step has ended: what it waited for its minibatch, and its length."""

    def end_epoch(self, epoch: int) -> None:
        """An epoch has ended, and no minibatch is being prepared."""


MakeSource = Callable[[Connection, dict[str, Any], int], FeatureSource]
"""Makes a trainer's source from its place in the cluster, the worker's arguments, and its minibatches an epoch."""


def as_bytes(rows: torch.Tensor) -> torch.Tensor:
    """Rows of any dtype and shape as bytes, shape (rows, bytes), where they lie."""
    return rows.reshape(len(rows), prod(rows.shape[1:])).view(torch.uint8)


Places = NDArray[np.int64]
"""Where rows are to be put."""


class Sharded:
    """One process's view of a tensor of node data that is sharded over DGL's servers.

    `key` is its name in the store, `local` this machine's rows (of any dtype that numpy knows), `policy` DGL's own
    partition policy, which says who owns a row.
    """

    def __init__(self, key: str, local: torch.Tensor, policy: Any) -> None:
        self.key, self._to_part, self._to_local = key, policy.to_partid, policy.to_local
        self.parts: int = policy.partition_book.num_partitions()
        self._own: int = policy.part_id
        # numpy moves rows with half of torch's overhead, and shares their memory
        self.local: NDArray[Any] = local.numpy()

    def _gather(
        self, rows: NDArray[Any], at: Places | None, own: NDArray[np.int64], local_ids: NDArray[np.int64]
    ) -> None:
        """Put this machine's own rows in place."""
        if at is None and len(own) * 2 > len(rows) and rows.flags.c_contiguous:
            # in one pass over memory; the places of remote rows are overwritten when responses arrive
            every = np.zeros(len(rows), np.int64)
            every[own] = local_ids
            np.take(self.local, every, axis=0, out=rows, mode="clip")
        else:
            rows[own if at is None else at[own]] = self.local.take(local_ids, axis=0)

    def _as_local(self, rows: torch.Tensor) -> NDArray[Any]:
        """Rows as they are kept here: of their own dtype, or as bytes."""
        return (as_bytes(rows) if self.local.dtype == np.uint8 and self.local.ndim == 2 else rows).numpy()

    @classmethod
    def of(cls, tensor: Any) -> Sharded:
        """The view of a DistTensor."""
        return cls(tensor.kvstore_key, tensor.local_partition, tensor.part_policy)

    def empty(self, count: int) -> NDArray[Any]:
        """Room for `count` rows."""
        return np.empty((count, *self.local.shape[1:]), self.local.dtype)

    def by_owner(self, ids: NDArray[np.int64]) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
        """The places in `ids` by owner, and where this machine's own rows lie in `local`."""
        owner = self._to_part(torch.from_numpy(ids)).numpy()
        places = [np.flatnonzero(owner == part) for part in range(self.parts)]
        return places, self._to_local(torch.from_numpy(ids[places[self._own]])).numpy()

    def pull(
        self,
        ids: NDArray[np.int64],
        rows: NDArray[Any],
        at: Places | None,
        owners: tuple[list[NDArray[np.int64]], NDArray[np.int64]],
        start: float,
        times: FetchTimes,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Put the row of `ids[i]` into place `at[i]` of `rows`, or i where `at` is None.

        `owners` is the result of `by_owner` for the ids, `start` the start of the whole fetch, which may be of several
        tensors. `meanwhile` is called once the requests have been sent.
        """
        of_part, local_ids = owners
        servers = rpc.get_num_server_per_machine()
        own = of_part[self._own]
        with RPC:
            asked = [part for part in range(self.parts) if part != self._own and len(of_part[part])]
            for part in asked:
                rpc.send_request_to_machine(part, PullRequest(self.key, torch.from_numpy(ids[of_part[part]])))
            gather = perf_counter()
            self._gather(rows, at, own, local_ids)
            meanwhile()
            times.local_gather_s += perf_counter() - gather
            for _ in asked:
                response = rpc.recv_response()
                part = response.server_id // servers
                places = of_part[part] if at is None else at[of_part[part]]
                rows[places] = self._as_local(response.data_tensor)
                times.owner_done_s[part] = perf_counter() - start


class DistStore(LooksNoFurther):
    """Node features of a DistGraph, pulled from their owners: DistDGL without any buffer.

    `tensors` are DistTensors of node data by name, of any dtype that numpy knows; all lie on the same partitions.
    """

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.tensors = {name: Sharded.of(tensor) for name, tensor in tensors.items()}
        self._any = next(iter(self.tensors.values()))

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """All rows from their owners."""
        ids = input_nodes.numpy()
        rows = self.empty(len(ids))
        times = self.pull(ids, rows, None)
        return {name: torch.from_numpy(array) for name, array in rows.items()}, times

    def empty(self, count: int) -> Arrays:
        """Room for `count` rows of each feature."""
        return {name: tensor.empty(count) for name, tensor in self.tensors.items()}

    def pull(
        self,
        ids: NDArray[np.int64],
        rows: Arrays,
        at: Places | None,
        meanwhile: Callable[[str], None] = lambda name: None,
    ) -> FetchTimes:
        """Put the row of `ids[i]` into place `at[i]` of `rows`, or i where `at` is None.

        One feature after another, since responses don't name their feature. `meanwhile(name)` is called once a
        feature's requests have been sent.
        """
        start = perf_counter()
        times = FetchTimes(owner_done_s=[0.0] * self._any.parts)
        owners = self._any.by_owner(ids)
        for name, tensor in self.tensors.items():
            tensor.pull(ids, rows[name], at, owners, start, times, partial(meanwhile, name))
        return times

    def stepped(self, stall_s: float, step_s: float) -> None:
        """Nothing here depends on it."""

    def end_epoch(self, epoch: int) -> None:
        """Nothing is kept."""
