"""Rows of several node types and widths in one buffer: each row's features packed side by side into a slot of bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from traces.capture.fetch import Arrays, FetchTimes, Places, Sharded, as_bytes
from traces.errors import InputError
from traces.header import NodeType
from traces.job.partition_files import PartitionFiles
from traces.job.sampled import Typed
from traces.job.store import node_data

PACKED = "packed"


@dataclass(frozen=True, slots=True, eq=False)
class PackedFeature:
    """One kind of node data: the place of its bytes in a slot, their dtype, and the shape of a row."""

    key: str
    tensor: Sharded
    start: int
    row_bytes: int
    dtype: torch.dtype
    shape: tuple[int, ...]


class PackedStore:
    """The features of all node types, pulled from their owners, as `DistStore` does for one type.

    Ids are homogeneous (all types share one range); rows are bytes, shape (rows, bytes of the widest row). Data that
    training updates are left out: they are pulled from their owners every time. `client` is DGL's client of the store.
    Raises `InputError` for data that the trace names and the store hasn't.
    """

    def __init__(self, files: PartitionFiles, types: tuple[NodeType, ...], client: Any) -> None:
        self._files = files
        self.fetched = [one.name for one in types if one.features]
        stored = [data for key in client.data_name_list() if (data := node_data(client, key)) is not None]
        self.features: dict[str, list[PackedFeature]] = {}
        for one in types:
            start = 0
            for feature in (each for each in one.features if not each.trainable):
                data = next((s for s in stored if (s.node_type, s.name) == (one.name, feature.name)), None)
                if data is None:
                    where = f"node data {feature.name!r} of type {one.name!r}"
                    raise InputError(f"{where} was in the captured run, and is not in this one")
                local = client.data_store[data.key]
                packed = as_bytes(local)
                tensor = Sharded(data.key, packed, data.policy)
                row_bytes, shape = packed.shape[1], tuple(local.shape[1:])
                found = PackedFeature(data.key, tensor, start, row_bytes, local.dtype, shape)
                self.features.setdefault(one.name, []).append(found)
                start += row_bytes
        if not self.features:
            raise InputError("training writes all data of its input nodes: there is nothing that a buffer could hold")
        every = [one for features in self.features.values() for one in features]
        self.slot_bytes = max(one.start + one.row_bytes for one in every)
        self._parts = every[0].tensor.parts

    def empty(self, count: int) -> Arrays:
        """Room for `count` rows."""
        return {PACKED: np.empty((count, self.slot_bytes), np.uint8)}

    def pull(
        self,
        ids: NDArray[np.int64],
        rows: Arrays,
        at: Places | None,
        meanwhile: Callable[[str], None] = lambda name: None,
    ) -> FetchTimes:
        """As `DistStore.pull`, one node type and feature after another."""
        start, packed = perf_counter(), rows[PACKED]
        times = FetchTimes(owner_done_s=[0.0] * self._parts)
        todo = [partial(meanwhile, PACKED)]  # once, when the first requests are on their way
        for node_type, features in self.features.items():
            chosen = np.flatnonzero(self._files.of_type(node_type, ids))
            typed = self._files.typed_ids(node_type, ids[chosen])
            places = at if len(chosen) == len(ids) else chosen if at is None else at[chosen]
            owners = features[0].tensor.by_owner(typed)
            for one in features:
                into = packed[:, one.start : one.start + one.row_bytes]
                one.tensor.pull(typed, into, places, owners, start, times, todo.pop() if todo else _nothing)
        return times

    def ids(self, inputs: Typed) -> tuple[NDArray[np.int64], dict[str, slice]]:
        """The ids of all input nodes of types with features, and the slice of each type among them."""
        ids: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        slices, start = {}, 0
        for name in self.fetched:
            if name in inputs:
                ids.append(self._files.global_ids(name, inputs[name].numpy()))
                slices[name] = slice(start, start := start + len(ids[-1]))
        return np.concatenate(ids), slices

    def unpack(self, packed: torch.Tensor, slices: dict[str, slice]) -> dict[str, torch.Tensor]:
        """The rows of each feature by the name that the store has for it."""
        rows: dict[str, torch.Tensor] = {}
        for name, features in self.features.items():
            if name in slices:
                of_type = packed[slices[name]]
                for one in features:
                    found = of_type[:, one.start : one.start + one.row_bytes].contiguous()
                    rows[one.key] = found.view(one.dtype).reshape(len(found), *one.shape)
        return rows

    def wrong_rows(self, inputs: Typed, rows: dict[str, torch.Tensor]) -> dict[str, int]:
        """By feature, how many rows are not their owners', which are asked for all of them."""
        wrong = {}
        for name, features in self.features.items():
            if name not in inputs:
                continue
            ids = inputs[name].numpy()
            owners = features[0].tensor.by_owner(ids)
            for one in features:
                direct = one.tensor.empty(len(ids))
                times = FetchTimes(owner_done_s=[0.0] * self._parts)
                one.tensor.pull(ids, direct, None, owners, perf_counter(), times)
                served = as_bytes(rows[one.key]).numpy()
                wrong[one.key] = int((served != direct).any(1).sum())
        return wrong


def _nothing() -> None:
    pass
