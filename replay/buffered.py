"""Features through a live buffer: the very cache and gate of the simulator, with rows in the slots they name."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.gate import Gate
from agents.policy import Observation
from sim.caches.cache import Cache
from sim.stream import Universe
from traces.capture.fetch import DistStore, FetchTimes, Rows


class BufferedStore:
    """Serves minibatches from a buffer where it can, and pulls the rest, misses and replacements, in one go.

    `tensors` are the DistTensors of node features by name, `owned` the range of partition-global ids that this machine
    owns. The buffer is filled at once with what the cache holds at first, which took `fill_s`. Whenever the gate's
    window is full, `ask` gets the question and sees to it that the gate hears the answer. `ended` is called with every
    epoch that has ended.
    """

    def __init__(
        self,
        tensors: dict[str, Any],
        owned: tuple[int, int],
        universe: Universe,
        cache: Cache,
        gate: Gate,
        ask: Callable[[Observation], None],
        per_epoch: int,
        ended: Callable[[int, Gate], None] = lambda epoch, gate: None,
    ) -> None:
        self._store, self._owned, self._universe = DistStore(tensors), owned, universe
        self._cache, self.gate, self._ask, self._per_epoch = cache, gate, ask, per_epoch
        self._ended = ended
        self._minibatch = 0
        self._in_halo = universe.local_degrees > 0
        self._steps: deque[tuple[float, float]] = deque()
        start = perf_counter()
        held = cache.contents()
        slots = np.flatnonzero(held >= 0)
        filled = self._store.fetch(torch.from_numpy(universe.node_ids[held[slots]]))[0]
        self._buffers = {name: rows.new_empty((len(held), *rows.shape[1:])) for name, rows in filled.items()}
        for name, rows in filled.items():
            self._buffers[name][slots] = rows
        self.fill_s = perf_counter() - start

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """Rows of all input nodes, in their order."""
        ids = input_nodes.numpy()
        remote = np.flatnonzero((ids < self._owned[0]) | (ids >= self._owned[1]))
        remote = remote[np.argsort(ids[remote])]  # caches take ids in ascending order
        dense, cacheable = self._dense(ids[remote])
        places = remote[cacheable]
        served = self._cache.access(dense, self.gate.take(self._minibatch))
        hit = served.hit_slots >= 0
        missing = np.ones(len(ids), bool)
        missing[places[hit]] = False
        pulled = np.flatnonzero(missing)
        beside = np.setdiff1d(served.inserted_ids, dense, assume_unique=True)
        wanted = np.concatenate([ids[pulled], self._universe.node_ids[beside]])
        fresh, times = self._store.fetch(torch.from_numpy(wanted))
        rows = {name: tensor.new_empty((len(ids), *tensor.shape[1:])) for name, tensor in fresh.items()}
        for name, buffer in self._buffers.items():
            rows[name][pulled] = fresh[name][: len(pulled)]
            rows[name][places[hit]] = buffer[served.hit_slots[hit]]  # before the slots are overwritten
        if len(served.inserted_ids):
            order = np.argsort(wanted)
            at = order[np.searchsorted(wanted, self._universe.node_ids[served.inserted_ids], sorter=order)]
            for name, buffer in self._buffers.items():
                buffer[served.inserted_slots] = fresh[name][at]
        times.hit_rows, times.replacement_rows = served.hit_rows, served.replacement_rows
        self._count(len(remote), int(self._in_halo[dense].sum()), served.hit_rows, served.replacement_rows)
        return rows, times

    def _dense(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Dense ids of those of `ids` that may be cached, and which those are."""
        nodes = self._universe.node_ids
        dense = np.searchsorted(nodes, ids)
        cacheable = nodes[np.minimum(dense, len(nodes) - 1)] == ids
        return dense[cacheable].astype(np.int32), cacheable

    def _count(self, remote_rows: int, halo_rows: int, hit_rows: int, replacement_rows: int) -> None:
        gate, cache, minibatch = self.gate, self._cache, self._minibatch
        while self._steps:
            gate.time(*self._steps.popleft())
        if gate.count(minibatch, remote_rows, halo_rows, hit_rows, replacement_rows):
            epoch = minibatch // self._per_epoch
            self._ask(gate.observe(epoch, minibatch, cache.occupied_rows, cache.stale_rows, cache.candidate_rows))
        self._minibatch += 1

    def stepped(self, stall_s: float, step_s: float) -> None:
        """Kept until the thread that prepares looks: the gate is not made for two threads."""
        self._steps.append((stall_s, step_s))

    def end_epoch(self, epoch: int) -> None:
        """Tell whoever keeps the decisions."""
        self._ended(epoch, self.gate)
