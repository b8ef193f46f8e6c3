"""One trainer as two SimPy processes, of which one prepares minibatches and the other computes; trainers meet at every
step.

Their tasks share cores, links and servers of the cluster (`sim.engine.engine`) with those of other trainers. The demand
of a task is in `sim.cost.service_demand`; the rows to fetch are the cache's misses and replacements. Tasks are given to
the engine one epoch at a time, or one minibatch at a time where a policy decides."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from agents.policy import Decision
from agents.policy_driver import PolicyDriver
from sim.cluster.scenario import Scenario
from sim.cost.model import CostModel
from sim.cost.service_demand import FETCH_STEP, ServiceDemand
from sim.counts.cache_replay import FetchCounts, decide, replay_minibatch
from sim.counts.policy_runs import Decided
from sim.engine.engine import CompiledEngine
from sim.engine.environment import EngineEnvironment
from sim.engine.reference import ReferenceEngine
from sim.engine.tasks import AGENT, FETCH, NEVER, ON_BEGIN, ON_END, ON_REQUEST, PREPARE, STEP, TRAIN
from sim.simulation.turns import Turns
from sim.workload.load import TrainerInput

Process = Generator[simpy.Event, Any, None]

PREPARED = ("prepare_start_s", "sampled_s", "fetched_s", "labelled_s", "local_gather_s")
"""Instants of preparing a minibatch: its start, and the ends of its parts; and the duration of the local gather."""

TRAINED = ("start_s", "forward_start_s", "gradients_ready_s", "update_start_s", "end_s")
"""Instants of training on a minibatch, as `traces.job.timeline` has them: when the trainer asked for it, when it had it
and began to compute, and when the parts after that began or ended."""

TIMED = (
    "start_s", "prepare_start_s", "sample_s", "fetch_s", "local_gather_s", "label_s", "stall_s", "compute_s", "wait_s",
    "allreduce_s", "update_s", "step_s",
)  # fmt: skip


class Barrier:
    """A reusable barrier: all trainers wait for the slowest."""

    def __init__(self, env: EngineEnvironment, parties: int) -> None:
        self._env, self._parties = env, parties
        self._arrived, self._open = 0, env.event()

    def arrive(self) -> simpy.Event:
        """An event that happens when all parties have arrived."""
        opens = self._open
        self._arrived += 1
        if self._arrived == self._parties:
            self._arrived, self._open = 0, self._env.event()
            opens.succeed()
        return opens


class Trainer:
    """A trainer in a simulated cluster; its processes start at once.

    `depth` is the number of minibatches prepared ahead; 0 means that preparing and computing take turns. `fetch_counts`
    says what every minibatch fetches; where a policy decides (`decided`), it is filled in as the run goes. After the
    simulation `times_of` gives its times, and `fill_s` is what it took to fill the buffer at the start.
    """

    def __init__(
        self,
        env: EngineEnvironment,
        source: TrainerInput,
        work: ServiceDemand,
        cost: CostModel,
        fetch_counts: FetchCounts,
        engine: CompiledEngine | ReferenceEngine,
        epochs: Barrier,
        *,
        minibatches_per_epoch: int,
        depth: int,
        scenario: Scenario,
        agent_cores: float,
        decided: Decided | None,
        on_progress: Callable[[], None],
    ) -> None:
        self._env, self._in, self._served, self._engine = env, source, fetch_counts, engine
        self._work, self._request_s = work, cost.request_s
        self._step_overhead_s = cost.handoff_latency_s if depth else cost.step_overhead_s
        self._epochs = epochs
        self._per_epoch = minibatches_per_epoch
        self._decided, self._on_progress = decided, on_progress
        self._depth, self._scenario, self._agent_cores = depth, scenario, agent_cores
        minibatches = source.stream.minibatches
        self._spans = [
            slice(first, min(first + minibatches_per_epoch, minibatches))
            for first in range(0, minibatches, minibatches_per_epoch)
        ]
        # an epoch's first minibatch is not prepared during the epoch before: DistDGL's loader starts anew
        self._epoch_may_start = [env.event() for _ in range(len(self._spans) + 1)]
        self._epoch_may_start[0].succeed()
        engine.give(source.rank, PREPARE, depth)
        self.prepared = np.zeros((minibatches, len(PREPARED)))
        self.trained = np.zeros((minibatches, len(TRAINED)))
        self.fill_s = 0.0
        env.process(self._prepare())
        env.process(self._train())

    def _prepare(self) -> Process:
        engine, fetch_counts, rank = self._engine, self._served, self._in.rank
        all_turns = Turns(*self._work.preparing(self._request_s, fetch_counts), fetch_counts.sampled)
        if fetch_counts.capacity_rows:
            filling = np.zeros((1, 1), STEP)
            filling["kind"], filling["before_s"] = FETCH, self._request_s
            yield engine.run(rank, PREPARE, filling, fetch_counts.fill_by_owner[None, None, :])
            self.fill_s = self._env.now
        for epoch, span in enumerate(self._spans):
            yield self._epoch_may_start[epoch]
            if self._decided is None:
                for turns in all_turns.together(span):
                    yield from self._prepare_ahead(all_turns, turns)
            else:
                for minibatch in range(span.start, span.stop):
                    yield from self._prepare_decided(self._decided, all_turns, minibatch)

    def _prepare_ahead(self, all_turns: Turns, turns: slice) -> Process:
        """Prepare minibatches of which it is known what they fetch."""
        engine, rank = self._engine, self._in.rank
        if len(all_turns.to_sample(turns.start)) > 1:
            began_s, sampled_s = yield from self._sample(all_turns, turns.start)
            yield from self._fetch(all_turns, turns.start, began_s, sampled_s, ON_END)
            return
        tasks, rows = all_turns.in_order(turns)
        yield engine.run(rank, PREPARE, tasks, rows, needs_token=True, releases=ON_END)
        times, prepared = engine.times(rank, PREPARE), self.prepared[turns]
        prepared[:, 0], prepared[:, 1:4] = times["began_s"], times["ended_s"][:, FETCH_STEP - 1 :]
        prepared[:, 4] = times["overlapped_s"][:, FETCH_STEP]

    def _prepare_decided(self, decided: Decided, all_turns: Turns, minibatch: int) -> Process:
        """Prepare a minibatch of which the policy's decision says what is fetched once it has been sampled."""
        counts, fetch = self._served, FETCH_STEP
        decided.cache.look_ahead(self._in.stream)
        counts.sampled[minibatch] = max(minibatch + 1, decided.cache.foreseen)
        began_s, sampled_s = yield from self._sample(all_turns, minibatch)
        replay_minibatch(counts, self._in, decided.cache, minibatch, decided.driver.take(minibatch))
        all_turns.rows[minibatch, fetch] = counts.rows_by_owner[minibatch]
        all_turns.tasks["overlapped_s"][minibatch, fetch] += self._work.hit_s * counts.hit_rows[minibatch]
        yield from self._fetch(all_turns, minibatch, began_s, sampled_s, NEVER)
        yield from self._ask(decided, minibatch)
        self._engine.give(self._in.rank, TRAIN)

    def _sample(self, all_turns: Turns, turn: int) -> Generator[simpy.Event, Any, tuple[float, float]]:
        """Begin a turn, with a token, and sample what is sampled in it. Returns when that began and ended."""
        engine, rank, every = self._engine, self._in.rank, all_turns.to_sample(turn)
        tasks, rows = all_turns.tasks[every.start : every.stop], all_turns.rows[every.start : every.stop]
        if not every:
            tasks, rows = np.zeros((1, FETCH_STEP), STEP), np.zeros((1, FETCH_STEP, rows.shape[2]))
        yield engine.run(rank, PREPARE, tasks[:1, :FETCH_STEP], rows[:1, :FETCH_STEP], needs_token=True)
        began_s = float(engine.times(rank, PREPARE)["began_s"][0])
        for first in range(1, len(tasks), self._per_epoch):
            some = slice(first, first + self._per_epoch)  # an engine has room for so many
            yield engine.run(rank, PREPARE, tasks[some, :FETCH_STEP], rows[some, :FETCH_STEP])
        return began_s, float(engine.times(rank, PREPARE)["ended_s"][-1, FETCH_STEP - 1])

    def _fetch(self, all_turns: Turns, minibatch: int, began_s: float, sampled_s: float, releases: int) -> Process:
        """Fetch a minibatch that has been sampled, in the turn that began at `began_s`."""
        engine, rank, now, fetch = self._engine, self._in.rank, slice(minibatch, minibatch + 1), FETCH_STEP
        tasks, rows = all_turns.tasks[now, fetch:], all_turns.rows[now, fetch:]
        yield engine.run(rank, PREPARE, tasks, rows, releases=releases)
        [fetching] = engine.times(rank, PREPARE)
        self.prepared[minibatch] = began_s, sampled_s, *fetching["ended_s"][:2], fetching["overlapped_s"][0]

    def _train(self) -> Process:
        engine, rank, decided = self._engine, self._in.rank, self._decided
        tasks = self._work.training(self._step_overhead_s)
        for epoch, span in enumerate(self._spans):
            at_once = 1 if decided else span.stop - span.start
            for first in range(span.start, span.stop, at_once):
                now = slice(first, first + at_once)
                releases = ON_BEGIN if self._depth else ON_REQUEST
                yield engine.run(rank, TRAIN, tasks[now], needs_token=True, releases=releases)
                times = engine.times(rank, TRAIN)
                self.trained[now, 0], self.trained[now, 1:] = times["requested_s"], times["ended_s"]
                if decided:
                    start_s, forward_start_s, *_, end_s = self.trained[first].tolist()
                    decided.driver.time(forward_start_s - start_s, end_s - start_s)
                for _ in range(at_once):
                    self._on_progress()
            yield self._epochs.arrive()
            self._epoch_may_start[epoch + 1].succeed()

    def _ask(self, decided: Decided, minibatch: int) -> Process:
        """If the driver's window is full, ask the policy, and let its latency pass."""
        driver, now = decided.driver, self._env.now
        decision = decide(self._served, self._in, decided.cache, driver, minibatch, self._per_epoch)
        if decision is None:
            return
        if decision.latency_s and (silent_s := self._scenario.silent_until(now) - now):
            latency_s = max(silent_s, decision.latency_s)
            decision = replace(decision, replace=False, outcome="late", latency_s=latency_s)
        if decided.synchronous:
            yield self._think(decision)
            driver.answer(decision)
        elif decision.latency_s == 0.0:
            driver.answer(decision)
        else:
            self._env.process(self._answer_later(driver, decision))

    def _think(self, decision: Decision) -> simpy.Event:
        """An event that happens when the answer has come. A model that shares the host's cores is slower when they are
        busy."""
        if not self._agent_cores or decision.outcome == "late":
            return self._env.timeout(decision.latency_s)
        return self._engine.work(self._in.rank, AGENT, decision.latency_s, self._agent_cores)

    def _answer_later(self, driver: PolicyDriver, decision: Decision) -> Process:
        yield self._think(decision)
        driver.answer(decision)


def times_of(trainers: Sequence[Trainer]) -> dict[str, NDArray[np.float64]]:
    """Seconds by `TIMED` after a simulation, each of shape (trainers, minibatches).

    All trainers wait until the slowest one's gradients are there; then they are summed.
    """
    prepared = {name: np.stack([one.prepared[:, i] for one in trainers]) for i, name in enumerate(PREPARED)}
    trained = {name: np.stack([one.trained[:, i] for one in trainers]) for i, name in enumerate(TRAINED)}
    reduce_start_s = trained["gradients_ready_s"].max(axis=0)
    return {
        "start_s": trained["start_s"],
        "prepare_start_s": prepared["prepare_start_s"],
        "sample_s": prepared["sampled_s"] - prepared["prepare_start_s"],
        "fetch_s": prepared["fetched_s"] - prepared["sampled_s"],
        "local_gather_s": prepared["local_gather_s"],
        "label_s": prepared["labelled_s"] - prepared["fetched_s"],
        "stall_s": trained["forward_start_s"] - trained["start_s"],
        "compute_s": trained["gradients_ready_s"] - trained["forward_start_s"],
        "wait_s": reduce_start_s - trained["gradients_ready_s"],
        "allreduce_s": trained["update_start_s"] - reduce_start_s,
        "update_s": trained["end_s"] - trained["update_start_s"],
        "step_s": trained["end_s"] - trained["start_s"],
    }
