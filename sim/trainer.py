"""One trainer as SimPy processes: one prepares minibatches, one computes with them, and all meet at every step.

What a minibatch samples and computes takes what it took in the captured run, which is the best estimate there is. The
fetch is simulated, because that is what a buffer changes. Does not model how processes on one host slow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from agents.gate import Gate
from agents.policy import Decision
from sim.caches.cache import Cache
from sim.fetch import Store
from sim.load import TrainerInput

Process = Generator[simpy.Event, Any, None]

COUNTED = ("hit_rows", "replacement_rows", "fetched_rows")
TIMED = ("start_s", "prepare_start_s", "sample_s", "fetch_s", "stall_s", "compute_s", "wait_s", "allreduce_s", "step_s")


class Barrier:
    """Where all trainers wait for the slowest, again and again."""

    def __init__(self, env: simpy.Environment, parties: int) -> None:
        self._env, self._parties = env, parties
        self._arrived, self._open = 0, env.event()

    def arrive(self) -> simpy.Event:
        """Happens when everybody has arrived."""
        opens = self._open
        self._arrived += 1
        if self._arrived == self._parties:
            self._arrived, self._open = 0, self._env.event()
            opens.succeed()
        return opens


class Trainer:
    """A trainer in a simulated cluster; its processes start at once.

    `depth` is the number of minibatches prepared ahead; 0 means that preparing and computing take turns. `cache` and
    `gate` are None where there is no buffer. After the simulation `counts` and `times` hold what happened in every
    minibatch, shape (minibatches,), and `fill_rows` and `fill_s` what it took to fill the buffer at the start.
    """

    def __init__(
        self,
        env: simpy.Environment,
        source: TrainerInput,
        store: Store,
        gradients: Barrier,
        epochs: Barrier,
        *,
        minibatches_per_epoch: int,
        depth: int,
        cache: Cache | None,
        gate: Gate | None,
        synchronous: bool,
        tell: Callable[[], None],
    ) -> None:
        self._env, self._in, self._store = env, source, store
        self._gradients, self._epochs = gradients, epochs
        self._per_epoch = minibatches_per_epoch
        self._cache, self.gate, self._synchronous, self._tell = cache, gate, synchronous, tell
        self._depth = depth
        minibatches = source.stream.minibatches
        self._may_prepare = [env.event() for _ in range(minibatches + max(depth, 1))]
        self._prepared = [env.event() for _ in range(minibatches)]
        for free in self._may_prepare[:depth]:
            free.succeed()
        # an epoch's first minibatch is not prepared during the epoch before: DistDGL's loader starts anew
        self._epoch_may_start = [env.event() for _ in range(minibatches // minibatches_per_epoch + 1)]
        self._epoch_may_start[0].succeed()
        self.counts = {name: np.zeros(minibatches, np.int64) for name in COUNTED}
        self.times = {name: np.zeros(minibatches) for name in TIMED}
        self.fill_rows, self.fill_s = 0, 0.0
        times = source.times
        self._sample_s = times["sample_s"].tolist()
        self._gather_s = times["local_gather_s"].tolist()
        self._after_fetch_s = (times["label_s"] + times["copy_s"]).tolist()
        self._compute_s = (times["forward_s"] + times["backward_s"]).tolist()
        self._allreduce_s = times["allreduce_s"].tolist()
        self._update_s = times["update_s"].tolist()
        env.process(self._prepare())
        env.process(self._train())

    def _prepare(self) -> Process:
        env, stream = self._env, self._in.stream
        yield from self._fill()
        for minibatch in range(stream.minibatches):
            if minibatch % self._per_epoch == 0:
                yield self._epoch_may_start[minibatch // self._per_epoch]
            yield self._may_prepare[minibatch]
            start = env.now
            yield env.timeout(self._sample_s[minibatch])
            rows_by_owner = self._serve(minibatch)
            sampled = env.now
            yield self._store.fetch(rows_by_owner, self._gather_s[minibatch])
            self.times["prepare_start_s"][minibatch] = start
            self.times["sample_s"][minibatch] = sampled - start
            self.times["fetch_s"][minibatch] = env.now - sampled
            yield env.timeout(self._after_fetch_s[minibatch])
            if self.gate is not None:
                yield from self._ask(minibatch)
            self._prepared[minibatch].succeed()

    def _train(self) -> Process:
        env = self._env
        for minibatch in range(self._in.stream.minibatches):
            start = env.now
            if self._depth == 0:
                self._may_prepare[minibatch].succeed()
            yield self._prepared[minibatch]
            if self._depth:
                self._may_prepare[minibatch + self._depth].succeed()
            stall_s = env.now - start
            yield env.timeout(self._compute_s[minibatch])
            ready = env.now
            yield self._gradients.arrive()
            wait_s = env.now - ready
            yield env.timeout(self._allreduce_s[minibatch] + self._update_s[minibatch])
            row = (start, stall_s, self._compute_s[minibatch], wait_s, self._allreduce_s[minibatch], env.now - start)
            for name, value in zip(
                ("start_s", "stall_s", "compute_s", "wait_s", "allreduce_s", "step_s"), row, strict=True
            ):
                self.times[name][minibatch] = value
            if self.gate is not None:
                self.gate.time(stall_s, env.now - start)
            self._tell()
            if (minibatch + 1) % self._per_epoch == 0:
                yield self._epochs.arrive()
                self._epoch_may_start[(minibatch + 1) // self._per_epoch].succeed()

    def _fill(self) -> Process:
        """Fetch what the buffer holds at the start, before the first epoch."""
        if self._cache is None:
            return
        held = self._cache.contents()
        by_owner = np.bincount(self._in.owner_of[held[held >= 0]], minlength=self._in.owner_rows.shape[1])
        self.fill_rows = int(by_owner.sum())
        yield self._store.fetch(by_owner, 0.0)
        self.fill_s = self._env.now

    def _serve(self, minibatch: int) -> NDArray[np.int64]:
        """Put the minibatch to the cache; the rows to fetch, by owner."""
        wanted: NDArray[np.int64] = self._in.owner_rows[minibatch]
        replacement_rows = hit_rows = 0
        if self._cache is not None:
            decision = self.gate.take(minibatch) if self.gate is not None else None
            ids = self._in.stream.minibatch(minibatch)
            served = self._cache.access(ids, decision)
            hit_rows, replacement_rows = served.hit_rows, served.replacement_rows
            owners = self._in.owner_of
            wanted = wanted - np.bincount(owners[ids[served.hit_slots >= 0]], minlength=len(wanted))
            if replacement_rows:
                beside = np.setdiff1d(served.inserted_ids, ids, assume_unique=True)
                wanted = wanted + np.bincount(owners[beside], minlength=len(wanted))
        self.counts["hit_rows"][minibatch] = hit_rows
        self.counts["replacement_rows"][minibatch] = replacement_rows
        self.counts["fetched_rows"][minibatch] = wanted.sum()
        return wanted

    def _ask(self, minibatch: int) -> Process:
        """Show the gate what happened; where its window is full, let the policy decide, and time pass meanwhile."""
        gate, cache, stream = self.gate, self._cache, self._in.stream
        assert gate is not None
        assert cache is not None
        remote, halo = int(stream.remote_rows[minibatch]), int(stream.halo_rows[minibatch])
        counts = self.counts
        hits, replaced = int(counts["hit_rows"][minibatch]), int(counts["replacement_rows"][minibatch])
        if not gate.count(minibatch, remote, halo, hits, replaced):
            return
        epoch = minibatch // self._per_epoch
        decision = gate.ask(epoch, minibatch, cache.occupied_rows, cache.stale_rows, cache.candidate_rows)
        if self._synchronous:
            yield self._env.timeout(decision.latency_s)
            gate.answer(decision)
        elif decision.latency_s == 0.0:
            gate.answer(decision)
        else:
            self._env.process(self._answer_later(decision))

    def _answer_later(self, decision: Decision) -> Process:
        assert self.gate is not None
        yield self._env.timeout(decision.latency_s)
        self.gate.answer(decision)
