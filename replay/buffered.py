"""A live feature buffer: the simulator's cache and driver choose the slots, and rows of features are kept in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.policy import Observation
from agents.policy_driver import PolicyDriver
from replay.packed import PackedStore
from sim.caches.cache import Cache
from sim.workload.stream import Universe
from traces.capture.fetch import DistStore, FetchTimes, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a minibatch asks for: how many remote rows, the `dense` ids (int32, ascending) of those that may be cached,
    and their `places` (int64) among its input nodes."""

    remote_rows: int
    dense: NDArray[np.int32]
    places: NDArray[np.int64]


class BufferedStore:
    """Serves rows from a buffer, and pulls misses and replacements together.

    `features` are the DistTensors of node features by name, or a store of several node types'; `owned` is the range of
    partition-global ids that this machine owns. The constructor fills the buffer with the cache's initial rows, in
    `fill_s` seconds. When the driver's window is full, `ask` gets the observation, and passes the answer to the driver.
    `ended` is called after every epoch. `peak_sampled_bytes` is the largest memory of minibatches that were sampled
    ahead of the next one to fetch: their blocks, and the ids that are kept here.
    """

    def __init__(
        self,
        features: dict[str, Any] | PackedStore,
        owned: tuple[int, int],
        universe: Universe,
        cache: Cache,
        driver: PolicyDriver,
        ask: Callable[[Observation], None],
        per_epoch: int,
        ended: Callable[[int, BufferedStore], None] = lambda epoch, store: None,
    ) -> None:
        self._store = DistStore(features) if isinstance(features, dict) else features
        self._owned, self._universe = owned, universe
        self._cache, self.driver, self._ask, self._per_epoch = cache, driver, ask, per_epoch
        self._ended = ended
        self._minibatch = 0
        self._in_halo = universe.local_degrees > 0
        self._steps: deque[tuple[float, float]] = deque()
        self._foreseen: deque[tuple[Asked, int]] = deque()
        self._sampled_bytes = self.peak_sampled_bytes = 0
        self._foresee_s = 0.0
        start = perf_counter()
        held = cache.contents()
        slots = np.flatnonzero(held >= 0)
        self._buffers = self._store.empty(len(held))
        self._store.pull(universe.node_ids[held[slots]], self._buffers, slots)
        self.fill_s = perf_counter() - start

    @property
    def looks_further(self) -> bool:
        """As the cache."""
        return self._cache.looks_further

    def foresee(self, input_nodes: torch.Tensor, sampled_bytes: int) -> None:
        """Tell the cache of a minibatch that was sampled ahead."""
        start = perf_counter()
        asked = self._asked(input_nodes.numpy())
        self._cache.foresee(asked.dense)
        total = sampled_bytes + asked.dense.nbytes + asked.places.nbytes
        self._foreseen.append((asked, total))
        self._sampled_bytes += total
        self.peak_sampled_bytes = max(self.peak_sampled_bytes, self._sampled_bytes - self._foreseen[0][1])
        self._foresee_s += perf_counter() - start

    def begin_epoch(self) -> None:
        """Forget what was foreseen of an epoch that was broken off."""
        if self._foreseen:
            self._foreseen.clear()
            self._sampled_bytes = 0
            self._cache.forget()

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """Rows of all input nodes, in their order: of the minibatch that was foreseen first, if any was."""
        start = perf_counter()
        ids = input_nodes.numpy()
        asked, sampled_bytes = self._foreseen.popleft() if self._foreseen else (self._asked(ids), 0)
        self._sampled_bytes -= sampled_bytes
        dense, places = asked.dense, asked.places
        access = self._cache.access(dense, self.driver.take(self._minibatch))
        hit = access.hit_slots >= 0
        hit_places, hit_slots = places[hit], access.hit_slots[hit]
        missing = np.ones(len(ids), bool)
        missing[hit_places] = False
        pulled = np.flatnonzero(missing)
        beside = access.beside(dense)
        wanted = np.concatenate([ids[pulled], self._universe.node_ids[beside]])
        total = len(ids) + len(beside)  # replacement rows come after the minibatch's own
        rows = self._store.empty(total)

        def copy_hits(name: str) -> None:
            rows[name][hit_places] = self._buffers[name].take(hit_slots, axis=0)

        pull = perf_counter()
        times = self._store.pull(wanted, rows, np.concatenate([pulled, np.arange(len(ids), total)]), copy_hits)
        pulled_at = perf_counter()
        if len(access.inserted_ids):
            at = self._places(access.inserted_ids, dense, places, beside, len(ids))
            for name, buffer in self._buffers.items():
                buffer[access.inserted_slots] = rows[name][at]
        times.hit_rows, times.replacement_rows = access.hit_rows, access.replacement_rows
        halo_rows = int(self._in_halo[dense].sum())
        times.decide_s = self._count(asked.remote_rows, halo_rows, access.hit_rows, access.replacement_rows)
        times.buffer_s = perf_counter() - pulled_at - times.decide_s + pull - start
        times.foresee_s, self._foresee_s = self._foresee_s, 0.0
        return {name: torch.from_numpy(array[: len(ids)]) for name, array in rows.items()}, times

    @staticmethod
    def _places(
        inserted: NDArray[np.int32],
        dense: NDArray[np.int32],
        places: NDArray[np.int64],
        beside: NDArray[np.int32],
        minibatch_rows: int,
    ) -> NDArray[np.int64]:
        """Positions of the inserted rows in the fetched rows: among the minibatch's own, or behind them."""
        behind = minibatch_rows + np.searchsorted(beside, inserted)
        if not len(dense):
            return behind
        found = np.minimum(np.searchsorted(dense, inserted), len(dense) - 1)
        return np.where(dense[found] == inserted, places[found], behind)

    def _asked(self, ids: NDArray[np.int64]) -> Asked:
        """What a minibatch with these input nodes asks for."""
        remote = np.flatnonzero((ids < self._owned[0]) | (ids >= self._owned[1]))
        remote = remote[np.argsort(ids[remote])]  # caches take ids in ascending order
        nodes, sought = self._universe.node_ids, ids[remote]
        dense = np.searchsorted(nodes, sought)
        cacheable = nodes[np.minimum(dense, len(nodes) - 1)] == sought
        return Asked(len(remote), dense[cacheable].astype(np.int32), remote[cacheable])

    def _count(self, remote_rows: int, halo_rows: int, hit_rows: int, replacement_rows: int) -> float:
        """Pass the counts to the driver, and ask the policy if the window is full. Returns the seconds that asking
        took."""
        driver, minibatch, asking_s = self.driver, self._minibatch, 0.0
        while self._steps:
            driver.time(*self._steps.popleft())
        observation = driver.after(
            minibatch // self._per_epoch,
            minibatch,
            self._cache,
            remote_rows=remote_rows,
            halo_rows=halo_rows,
            hit_rows=hit_rows,
            replacement_rows=replacement_rows,
        )
        if observation is not None:
            asked = perf_counter()
            self._ask(observation)
            asking_s = perf_counter() - asked
        self._minibatch += 1
        return asking_s

    def idle(self) -> None:
        """An empty minibatch, for a trainer that has fewer minibatches than others."""
        self.fetch(torch.empty(0, dtype=torch.int64))

    def stepped(self, stall_s: float, step_s: float) -> None:
        """Queue a step's times for the preparing thread, as the driver is not thread-safe."""
        self._steps.append((stall_s, step_s))

    def end_epoch(self, epoch: int) -> None:
        """Call `ended`, which writes what is kept of the epoch."""
        self._ended(epoch, self)
