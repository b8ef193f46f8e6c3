"""Features through a live buffer: the very cache and gate of the simulator, with rows in the slots they name."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.gate import Gate
from sim.caches.cache import Cache
from sim.stream import Universe
from traces.capture.fetch import DistStore, FetchTimes


class BufferedStore:
    """Serves minibatches from a buffer where it can, and pulls the rest, misses and replacements in one go.

    `features` is the DistTensor of node features, `owned` the range of partition-global ids that this machine owns.
    The buffer is filled at once with what the cache holds at first. Decisions are taken between minibatches, at once.
    """

    def __init__(
        self, features: Any, owned: tuple[int, int], universe: Universe, cache: Cache, gate: Gate, per_epoch: int
    ) -> None:
        self._store, self._owned, self._universe = DistStore(features), owned, universe
        self._cache, self._gate, self._per_epoch = cache, gate, per_epoch
        self._minibatch = 0
        self._in_halo = universe.local_degrees > 0
        held = cache.contents()
        slots = np.flatnonzero(held >= 0)
        self._rows = torch.empty((len(held), *features.shape[1:]), dtype=features.dtype)
        self._rows[slots] = self._store.fetch(torch.from_numpy(universe.node_ids[held[slots]]))[0]

    def fetch(self, input_nodes: torch.Tensor) -> tuple[torch.Tensor, FetchTimes]:
        """Rows of all input nodes, in their order."""
        ids = input_nodes.numpy()
        remote = np.flatnonzero((ids < self._owned[0]) | (ids >= self._owned[1]))
        remote = remote[np.argsort(ids[remote])]  # caches take ids in ascending order
        dense, cacheable = self._dense(ids[remote])
        places = remote[cacheable]
        served = self._cache.access(dense, self._gate.take(self._minibatch))
        hit = served.hit_slots >= 0
        missing = np.ones(len(ids), bool)
        missing[places[hit]] = False
        pulled = np.flatnonzero(missing)
        beside = np.setdiff1d(served.inserted_ids, dense, assume_unique=True)
        wanted = np.concatenate([ids[pulled], self._universe.node_ids[beside]])
        fresh, times = self._store.fetch(torch.from_numpy(wanted))
        rows = fresh.new_empty((len(ids), *fresh.shape[1:]))
        rows[pulled] = fresh[: len(pulled)]
        rows[places[hit]] = self._rows[served.hit_slots[hit]]  # before the slots are overwritten
        if len(served.inserted_ids):
            order = np.argsort(wanted)
            at = order[np.searchsorted(wanted, self._universe.node_ids[served.inserted_ids], sorter=order)]
            self._rows[served.inserted_slots] = fresh[at]
        times.hit_rows, times.replacement_rows = served.hit_rows, served.replacement_rows
        self._decide(len(remote), int(self._in_halo[dense].sum()), served.hit_rows, served.replacement_rows)
        return rows, times

    def _dense(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Dense ids of those of `ids` that may be cached, and which those are."""
        nodes = self._universe.node_ids
        dense = np.searchsorted(nodes, ids)
        cacheable = nodes[np.minimum(dense, len(nodes) - 1)] == ids
        return dense[cacheable].astype(np.int32), cacheable

    def _decide(self, remote_rows: int, halo_rows: int, hit_rows: int, replacement_rows: int) -> None:
        gate, cache, minibatch = self._gate, self._cache, self._minibatch
        if gate.count(minibatch, remote_rows, halo_rows, hit_rows, replacement_rows):
            epoch = minibatch // self._per_epoch
            gate.answer(gate.ask(epoch, minibatch, cache.occupied_rows, cache.stale_rows, cache.candidate_rows))
        self._minibatch += 1
