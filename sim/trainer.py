"""One trainer as SimPy processes: one prepares minibatches, one computes with them, and all meet at every step.

What they do takes cores, links and servers of the cluster (`sim.fetch`), which others use too. How much there is to do
is in `sim.work`; what is fetched is what the cache leaves. Does not model the interpreter lock that both share.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from agents.gate import Gate
from agents.policy import Decision
from sim.caches.cache import Cache
from sim.clock import Clock
from sim.cost import CostModel
from sim.fetch import Fabric
from sim.load import TrainerInput
from sim.scenario import Scenario
from sim.serve import Served, decide, serve
from sim.state import AGENT, FETCH, PREPARE, TRAIN
from sim.work import FETCH_CALL, Work

Process = Generator[simpy.Event, Any, None]

TIMED = (
    "start_s", "prepare_start_s", "sample_s", "fetch_s", "local_gather_s", "label_s", "stall_s", "compute_s", "wait_s",
    "allreduce_s", "update_s", "step_s",
)  # fmt: skip


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
    simulation `times_of` gives its times, and `fill_s` is what it took to fill the buffer at the start.
    """

    def __init__(
        self,
        env: Clock,
        source: TrainerInput,
        work: Work,
        cost: CostModel,
        served: Served,
        fabric: Fabric,
        epochs: Barrier,
        *,
        minibatches_per_epoch: int,
        depth: int,
        scenario: Scenario,
        agent_cores: float,
        decided: Decided | None,
        tell: Callable[[], None],
    ) -> None:
        self._env, self._in, self._served, self._fabric = env, source, served, fabric
        self._work, self._request_s, self._handover_s = work, cost.request_s, cost.handover_s
        self._epochs = epochs
        self._per_epoch = minibatches_per_epoch
        self._decided, self._tell = decided, tell
        self._depth, self._scenario, self._agent_cores = depth, scenario, agent_cores
        minibatches = source.stream.minibatches
        self._may_prepare = [env.event() for _ in range(minibatches + max(depth, 1))]
        self._prepared = [env.event() for _ in range(minibatches)]
        for free in self._may_prepare[:depth]:
            free.succeed()
        # an epoch's first minibatch is not prepared during the epoch before: DistDGL's loader starts anew
        self._epoch_may_start = [env.event() for _ in range(minibatches // minibatches_per_epoch + 1)]
        self._epoch_may_start[0].succeed()
        self.times: dict[str, list[float]] = {name: [] for name in (*TIMED, "ready_at", "summed_at")}
        self.fill_s = 0.0
        env.process(self._prepare())
        env.process(self._train())

    def _prepare(self) -> Process:
        env, times, decided, fabric, served = self._env, self.times, self._decided, self._fabric, self._served
        rank, rows_by_owner, work = self._in.rank, served.rows_by_owner, self._work
        program, rows = work.program(self._request_s, rows_by_owner)
        fetch = FETCH_CALL
        if served.capacity_rows:
            filling = program[0, fetch : fetch + 1] * 0.0
            filling[0, 0], filling[0, 1] = FETCH, self._request_s
            yield fabric.run(rank, PREPARE, filling, served.fill_by_owner[None, :])
            self.fill_s = env.now
        for minibatch in range(len(program)):
            if minibatch % self._per_epoch == 0:
                yield self._epoch_may_start[minibatch // self._per_epoch]
            yield self._may_prepare[minibatch]
            start = env.now
            if decided is None:
                yield fabric.run(rank, PREPARE, program[minibatch], rows[minibatch])
                ended = fabric.ended_at(rank, PREPARE)
                sampled, fetched = ended[fetch - 1], ended[fetch]
                gather_s = fabric.beside_s(rank, fetch)
            else:
                yield fabric.run(rank, PREPARE, program[minibatch, :fetch], rows[minibatch, :fetch])
                sampled = env.now
                decision = decided.gate.take(minibatch)
                serve(served, self._in, decided.cache, minibatch, decision)
                rows[minibatch, fetch] = rows_by_owner[minibatch]
                yield fabric.run(rank, PREPARE, program[minibatch, fetch:], rows[minibatch, fetch:])
                fetched = fabric.ended_at(rank, PREPARE)[0]
                gather_s = fabric.beside_s(rank, 0)
            times["prepare_start_s"].append(start)
            times["sample_s"].append(sampled - start)
            times["fetch_s"].append(fetched - sampled)
            times["local_gather_s"].append(gather_s)
            times["label_s"].append(env.now - fetched)
            if decided is not None:
                yield from self._ask(decided, minibatch)
            self._prepared[minibatch].succeed()

    def _train(self) -> Process:
        env, times, fabric, rank, work = self._env, self.times, self._fabric, self._in.rank, self._work
        program = work.training(self._handover_s)
        for minibatch in range(len(program)):
            start = env.now
            if self._depth == 0:
                self._may_prepare[minibatch].succeed()
            yield self._prepared[minibatch]
            if self._depth:
                self._may_prepare[minibatch + self._depth].succeed()
            yield fabric.run(rank, TRAIN, program[minibatch])
            began, ready, summed, updated = fabric.ended_at(rank, TRAIN)
            times["start_s"].append(start)
            times["stall_s"].append(began - start)
            times["compute_s"].append(ready - began)
            times["update_s"].append(updated - summed)
            times["step_s"].append(updated - start)
            times["ready_at"].append(ready)
            times["summed_at"].append(summed)
            if self._decided is not None:
                self._decided.gate.time(began - start, updated - start)
            self._tell()
            if (minibatch + 1) % self._per_epoch == 0:
                yield self._epochs.arrive()
                self._epoch_may_start[(minibatch + 1) // self._per_epoch].succeed()

    def _ask(self, decided: Decided, minibatch: int) -> Process:
        """Where the gate's window is full, let the policy decide, and time pass meanwhile."""
        gate, now = decided.gate, self._env.now
        decision = decide(self._served, self._in, decided.cache, gate, minibatch, self._per_epoch)
        if decision is None:
            return
        if decision.latency_s and (silent_s := self._scenario.silent_until(now) - now):
            latency_s = max(silent_s, decision.latency_s)
            decision = replace(decision, replace=False, outcome="late", latency_s=latency_s)
        if decided.synchronous:
            yield self._think(decision)
            gate.answer(decision)
        elif decision.latency_s == 0.0:
            gate.answer(decision)
        else:
            self._env.process(self._answer_later(gate, decision))

    def _think(self, decision: Decision) -> simpy.Event:
        """Happens when the decision is there: where the model shares the host's cores, later if they are busy."""
        if not self._agent_cores or decision.outcome == "late":
            return self._env.timeout(decision.latency_s)
        return self._fabric.work(self._in.rank, AGENT, decision.latency_s, self._agent_cores)

    def _answer_later(self, gate: Gate, decision: Decision) -> Process:
        yield self._think(decision)
        gate.answer(decision)


def times_of(trainers: Sequence[Trainer]) -> dict[str, NDArray[np.float64]]:
    """Seconds by `TIMED` after a simulation, each of shape (trainers, minibatches).

    All trainers wait until the slowest one's gradients are there; then they are summed.
    """
    times = {name: np.array([one.times[name] for one in trainers]) for name in trainers[0].times}
    ready_at, summed_at = times.pop("ready_at"), times.pop("summed_at")
    opened_at = ready_at.max(axis=0)
    return times | {"wait_s": opened_at - ready_at, "allreduce_s": summed_at - opened_at}
