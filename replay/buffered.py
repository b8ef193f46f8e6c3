"""A live feature buffer: the simulator's cache and driver choose the slots, and rows of features are kept in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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


class BufferedStore:
    """Serves rows from a buffer, and pulls misses and replacements together.

    `features` are the DistTensors of node features by name, or a store of several node types'; `owned` is the range of
    partition-global ids that this machine owns. The constructor fills the buffer with the cache's initial rows, in
    `fill_s` seconds. When the driver's window is full, `ask` gets the observation, and passes the answer to the driver.
    `ended` is called after every epoch.
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
        ended: Callable[[int, PolicyDriver], None] = lambda epoch, driver: None,
    ) -> None:
        self._store = DistStore(features) if isinstance(features, dict) else features
        self._owned, self._universe = owned, universe
        self._cache, self.driver, self._ask, self._per_epoch = cache, driver, ask, per_epoch
        self._ended = ended
        self._minibatch = 0
        self._in_halo = universe.local_degrees > 0
        self._steps: deque[tuple[float, float]] = deque()
        start = perf_counter()
        held = cache.contents()
        slots = np.flatnonzero(held >= 0)
        self._buffers = self._store.empty(len(held))
        self._store.pull(universe.node_ids[held[slots]], self._buffers, slots)
        self.fill_s = perf_counter() - start

    def fetch(self, input_nodes: torch.Tensor) -> tuple[Rows, FetchTimes]:
        """Rows of all input nodes, in their order."""
        start = perf_counter()
        ids = input_nodes.numpy()
        remote = np.flatnonzero((ids < self._owned[0]) | (ids >= self._owned[1]))
        remote = remote[np.argsort(ids[remote])]  # caches take ids in ascending order
        dense, cacheable = self._dense(ids[remote])
        places = remote[cacheable]
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
        times.decide_s = self._count(len(remote), halo_rows, access.hit_rows, access.replacement_rows)
        times.buffer_s = perf_counter() - pulled_at - times.decide_s + pull - start
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

    def _dense(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """The dense ids of the cacheable ones among `ids`, and their mask."""
        nodes = self._universe.node_ids
        dense = np.searchsorted(nodes, ids)
        cacheable = nodes[np.minimum(dense, len(nodes) - 1)] == ids
        return dense[cacheable].astype(np.int32), cacheable

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
        """Call `ended`, which writes the decisions."""
        self._ended(epoch, self.driver)
