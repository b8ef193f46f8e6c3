"""One trainer as SimPy processes: one prepares minibatches, one computes with them, and all meet at every step.

What a minibatch samples and computes takes what it took in the captured run, which is the best estimate there is. The
fetch is simulated, because that is what a buffer changes. Does not model how processes on one host slow each other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy

from agents.gate import Gate
from agents.policy import Decision
from sim.caches.cache import Cache
from sim.clock import Clock
from sim.fetch import Fabric
from sim.load import TrainerInput
from sim.serve import Served, decide, serve

Process = Generator[simpy.Event, Any, None]

TIMED = ("start_s", "prepare_start_s", "sample_s", "fetch_s", "stall_s", "compute_s", "wait_s", "allreduce_s", "step_s")


class Barrier:
    """Where all trainers wait for the slowest, again and again."""

    def __init__(self, env: Clock, parties: int) -> None:
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


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """A cache and the gate of the policy that decides for it."""

    cache: Cache
    gate: Gate
    synchronous: bool


class Trainer:
    """A trainer in a simulated cluster; its processes start at once.

    `depth` is the number of minibatches prepared ahead; 0 means that preparing and computing take turns. `served` says
    what every minibatch fetches; where a policy decides (`decided`), it is filled in as the run goes. After the
    simulation `times` has a list of seconds by `TIMED`, a value a minibatch, and `fill_s` is what it took to fill the
    buffer at the start.
    """

    def __init__(
        self,
        env: Clock,
        source: TrainerInput,
        served: Served,
        fabric: Fabric,
        gradients: Barrier,
        epochs: Barrier,
        *,
        minibatches_per_epoch: int,
        depth: int,
        decided: Decided | None,
        tell: Callable[[], None],
    ) -> None:
        self._env, self._in, self._served, self._fabric = env, source, served, fabric
        self._gradients, self._epochs = gradients, epochs
        self._per_epoch = minibatches_per_epoch
        self._decided, self._tell = decided, tell
        self._depth = depth
        minibatches = source.stream.minibatches
        self._may_prepare = [env.event() for _ in range(minibatches + max(depth, 1))]
        self._prepared = [env.event() for _ in range(minibatches)]
        for free in self._may_prepare[:depth]:
            free.succeed()
        # an epoch's first minibatch is not prepared during the epoch before: DistDGL's loader starts anew
        self._epoch_may_start = [env.event() for _ in range(minibatches // minibatches_per_epoch + 1)]
        self._epoch_may_start[0].succeed()
        self.times: dict[str, list[float]] = {name: [] for name in TIMED}
        self.fill_s = 0.0
        times = source.times
        self._sample_s = times["sample_s"].tolist()
        self._gather_s = times["local_gather_s"].tolist()
        self._after_fetch_s = (times["label_s"] + times["copy_s"]).tolist()
        self._compute_s = (times["forward_s"] + times["backward_s"]).tolist()
        self._allreduce_s = times["allreduce_s"].tolist()
        self._update_s = times["update_s"].tolist()
        self.times |= {"compute_s": self._compute_s, "allreduce_s": self._allreduce_s}
        env.process(self._prepare())
        env.process(self._train())

    def _prepare(self) -> Process:
        env, times, decided, fabric = self._env, self.times, self._decided, self._fabric
        rank, host, rows_by_owner = self._in.rank, self._in.partition, self._served.rows_by_owner
        if self._served.capacity_rows:
            yield fabric.fetch(rank, host, self._served.fill_by_owner, 0.0, 0.0)
            self.fill_s = env.now
        for minibatch in range(len(self._sample_s)):
            if minibatch % self._per_epoch == 0:
                yield self._epoch_may_start[minibatch // self._per_epoch]
            yield self._may_prepare[minibatch]
            start = env.now
            yield env.timeout(self._sample_s[minibatch])
            sampled = env.now
            if decided is not None:
                decision = decided.gate.take(minibatch)
                serve(self._served, self._in, decided.cache, minibatch, decision)
            gather_s, after_s = self._gather_s[minibatch], self._after_fetch_s[minibatch]
            fetch_s = yield fabric.fetch(rank, host, rows_by_owner[minibatch], gather_s, after_s)
            times["prepare_start_s"].append(start)
            times["sample_s"].append(sampled - start)
            times["fetch_s"].append(fetch_s)
            if decided is not None:
                yield from self._ask(decided, minibatch)
            self._prepared[minibatch].succeed()

    def _train(self) -> Process:
        env, times = self._env, self.times
        for minibatch in range(len(self._sample_s)):
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
            step_s = env.now - start
            times["start_s"].append(start)
            times["stall_s"].append(stall_s)
            times["wait_s"].append(wait_s)
            times["step_s"].append(step_s)
            if self._decided is not None:
                self._decided.gate.time(stall_s, step_s)
            self._tell()
            if (minibatch + 1) % self._per_epoch == 0:
                yield self._epochs.arrive()
                self._epoch_may_start[(minibatch + 1) // self._per_epoch].succeed()

    def _ask(self, decided: Decided, minibatch: int) -> Process:
        """Where the gate's window is full, let the policy decide, and time pass meanwhile."""
        gate = decided.gate
        decision = decide(self._served, self._in, decided.cache, gate, minibatch, self._per_epoch)
        if decision is None:
            return
        if decided.synchronous:
            yield self._env.timeout(decision.latency_s)
            gate.answer(decision)
        elif decision.latency_s == 0.0:
            gate.answer(decision)
        else:
            self._env.process(self._answer_later(gate, decision))

    def _answer_later(self, gate: Gate, decision: Decision) -> Process:
        yield self._env.timeout(decision.latency_s)
        gate.answer(decision)
