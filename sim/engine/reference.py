"""The reference engine: the model of time in plain SimPy, to be read, and to try new mechanisms in.

The threads of trainers, feature servers and senders are SimPy processes. They meet at the cores of hosts and at links
(`sim.engine.fair_sharing`), at stores of messages (a host's requests, a thread's responses), and at the all-reduce.
`sim.engine.engine.CompiledEngine` is the same model as compiled functions over arrays. Both follow the tie rule of that
module, so that all their times agree. Does not record how busy links and servers were.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.cores import FREE_CORES, TIME_SLICE_S
from sim.engine.environment import EngineEnvironment
from sim.engine.fair_sharing import ARRIVAL, BEGUN, GIVEN, REQUESTED, UNBLOCKED, Links, Pool
from sim.engine.parameters import HOST, SERVERS, EngineParameters
from sim.engine.tasks import AGENT, NEVER, ON_BEGIN, ON_END, ON_REQUEST, PREPARE, REDUCE, STEP, TASK_TIMES, TRAIN

Process = Generator[simpy.Event, Any, None]


class Thread:
    """A thread that computes on the cores of its host. A trainer's thread also holds tokens for its tasks.

    A thread that has slept gets a core at once, or after a time slice if none is free. Two threads of one interpreter
    (`peer`) hold its lock in turn: while both work, each keeps 1 / `gil_slowdown` of a core busy.
    """

    def __init__(
        self, env: EngineEnvironment, parameters: EngineParameters, pools: list[Pool], host: int, serves: bool = False
    ) -> None:
        slowing = (HOST, SERVERS) if serves else (HOST,)
        self._slowdowns = [one for one in parameters.periods if one.which == host and one.what in slowing]
        self._env, self._pool, self._gil_slowdown = env, pools[parameters.host_pool[host]], parameters.gil_slowdown
        self.host, self.inbox, self.peer = host, simpy.Store(env), self
        self.cores, self.slept, self.works = 1.0, False, False
        self.tokens, self.needs_token, self.releases = simpy.Container(env), False, NEVER
        self.times = np.zeros(0, TASK_TIMES)

    def compute(self, demand_s: float) -> Process:
        """Compute for `demand_s` seconds of a core."""
        wakes, self.slept, self.works = self.slept, False, True
        if wakes and self._pool.busy + self.cores > self._pool.cores + FREE_CORES:
            yield self._env.at(self._env.now + TIME_SLICE_S, ARRIVAL)
        if self.peer is not self:
            self.cores = 1.0 / self._gil_slowdown if self.peer.works else 1.0
            demand_s /= self.cores
        for period in self._slowdowns:
            if period.holds(self._env.now):
                demand_s /= period.factor
        yield self._pool.start(demand_s, self.cores)
        self.works = False

    def compute_any(self, demand_s: float) -> Process:
        """Compute, if there is anything to compute."""
        if demand_s > 0.0:
            yield from self.compute(demand_s)

    def receive(self) -> simpy.Event:
        """Wait for the first message in the inbox. A thread that waits sleeps."""
        self.slept = self.slept or not self.inbox.items
        return self.inbox.get()


class ReferenceEngine:
    """Cores, links and feature servers in simulated time, as SimPy processes. Its face is that of `CompiledEngine`."""

    def __init__(self, env: EngineEnvironment, parameters: EngineParameters) -> None:
        self._env, self._parameters, self._links = env, parameters, Links(env, parameters)
        pools = [Pool(env, number, cores) for number, cores in enumerate(parameters.pool_cores.tolist())]
        self._thread = partial(Thread, env, parameters, pools)
        hosts = parameters.trainer_host
        self._threads = [{one: self._thread(host) for one in (PREPARE, TRAIN, AGENT)} for host in hosts]
        for threads in self._threads:
            threads[PREPARE].peer, threads[TRAIN].peer = threads[TRAIN], threads[PREPARE]
        self._ring = Ring(self._links, parameters, [threads[TRAIN] for threads in self._threads])
        self._requests = [simpy.Store(env) for _ in parameters.host_pool]
        for host in range(len(self._requests)):
            to_copy = [simpy.Store(env) for _ in self._threads]
            for _ in range(parameters.servers_per_host):
                env.process(self._serve(host, to_copy))
            for amounts_s in to_copy:
                env.process(self._copy(host, amounts_s))

    def run(
        self, trainer: int, thread: int, tasks: NDArray, rows: NDArray | None = None,
        *, needs_token: bool = False, releases: int = NEVER,
    ) -> simpy.Event:  # fmt: skip
        """Run tasks on a trainer's thread, one after another. Returns the event of their end."""
        one = self._threads[trainer][thread]
        one.needs_token, one.releases, one.times = needs_token, releases, np.zeros(len(tasks), TASK_TIMES)
        return self._env.process(self._perform(trainer, one, tasks, rows))

    def give(self, trainer: int, thread: int, tokens: int = 1) -> None:
        """Give a trainer's thread tokens for its tasks."""
        if tokens:
            self._env.at(self._env.now, GIVEN, lambda _: self._threads[trainer][thread].tokens.put(tokens))

    def work(self, trainer: int, thread: int, demand_s: float, cores: float) -> simpy.Event:
        """Run a job of `demand_s` on a trainer's thread, which keeps `cores` busy. Returns the event of its end."""
        one, task = self._threads[trainer][thread], np.zeros((1, 1), STEP)
        one.cores, one.slept, task["before_s"] = cores, True, demand_s
        return self.run(trainer, thread, task)

    def times(self, trainer: int, thread: int) -> NDArray:
        """When a thread went through its latest tasks: shape (tasks,), of `sim.engine.tasks.TASK_TIMES`."""
        return self._threads[trainer][thread].times

    def _perform(self, trainer: int, thread: Thread, tasks: NDArray, rows: NDArray | None) -> Process:
        """A trainer's thread: for each task it takes a token, if it needs one, and performs the steps."""
        env, peer = self._env, thread.peer
        yield env.at(env.now, REQUESTED)
        for number, (steps, times) in enumerate(zip(tasks, thread.times, strict=True)):
            times["requested_s"] = env.now
            if thread.releases == ON_REQUEST:
                peer.tokens.put(1)
            if thread.needs_token and thread.tokens.level:
                yield thread.tokens.get(1)
            elif thread.needs_token:  # threads that take turns are one thread in reality, which does not sleep
                thread.slept = ON_REQUEST not in (thread.releases, peer.releases)
                yield thread.tokens.get(1)
                yield env.at(env.now, UNBLOCKED)
            times["began_s"] = env.now
            begun = env.at(env.now, BEGUN)
            if thread.releases == ON_BEGIN:
                peer.tokens.put(1)
            yield begun
            for step, (kind, before_s, overlapped_s, after_s) in enumerate(steps.tolist()):
                yield from thread.compute_any(before_s)
                if kind == REDUCE:
                    yield from self._ring.reduce(trainer, overlapped_s)
                else:
                    calls = 0 if rows is None else self._call(trainer, thread, kind, rows[number, step].tolist())
                    called_s, of_kind = env.now, self._parameters.rpc_kinds[kind]
                    yield from thread.compute_any(overlapped_s)
                    times["overlapped_s"][step] = env.now - called_s
                    for _ in range(calls):
                        response_rows = yield thread.receive()
                        yield from thread.compute_any(response_rows * of_kind.scatter_s_per_row)
                yield from thread.compute_any(after_s)
                times["ended_s"][step] = env.now
            if thread.releases == ON_END:
                peer.tokens.put(1)

    def _call(self, trainer: int, thread: Thread, kind: int, rows_by_host: list[float]) -> int:
        """Send a request to every host that rows are asked of. Returns how many."""
        asked = {host: rows for host, rows in enumerate(rows_by_host) if rows > 0.0}
        for host, rows in asked.items():
            size_bytes = rows * self._parameters.rpc_kinds[kind].request_bytes_per_row
            self._links.send((trainer, kind, rows), self._requests[host], thread.host, host, size_bytes)
        return len(asked)

    def _serve(self, host: int, to_copy: list[simpy.Store]) -> Process:
        """A feature server: takes the request that waits longest, reads the rows, and sends them. Meanwhile a thread of
        the connection, as DGL has one for each, copies them into its socket."""
        thread = self._thread(host, serves=True)
        thread.inbox = self._requests[host]
        while True:
            trainer, kind, rows = yield thread.receive()
            of_kind, caller = self._parameters.rpc_kinds[kind], self._threads[trainer][PREPARE]
            yield from thread.compute(of_kind.server_s + rows * of_kind.server_s_per_row)
            size_bytes, copying_s = rows * of_kind.response_bytes_per_row, rows * of_kind.send_s_per_row
            self._links.send(rows, caller.inbox, host, caller.host, size_bytes, min_s=copying_s)
            if copying_s > 0.0:
                to_copy[trainer].put(copying_s)

    def _copy(self, host: int, amounts_s: simpy.Store) -> Process:
        """A sender: it copies everything that is ready at once, right after the server, and so without having slept."""
        thread = self._thread(host, serves=True)
        while True:
            copying_s = yield amounts_s.get()
            while amounts_s.items:
                copying_s += yield amounts_s.get()
            yield from thread.compute(copying_s)


class Ring:
    """The all-reduce: each trainer passes part after part of the gradients on to the next one.

    A trainer adds what comes from the one before it to its own part, and passes that on (Patarasuk and Yuan, Bandwidth
    Optimal All-reduce Algorithms, 2009). So one that waits for a core holds up those after it, one after another. A
    part is sent when the next trainer has said that it expects it, as Gloo does; that message, too, waits in queues.
    """

    def __init__(self, links: Links, parameters: EngineParameters, threads: list[Thread]) -> None:
        self._env, self._links, self._parameters, self._threads = links.env, links, parameters, threads
        self._joined, self._round_s = 0, 0.0
        self._to_send, self._to_add = [0] * len(threads), [0] * len(threads)  # parts
        self._expected_s = [0.0] * len(threads)  # when each trainer knows that the next one expects its part

    def reduce(self, trainer: int, overhead_s: float) -> Process:
        """A trainer takes part. The last one's `overhead_s` is what the rounds take each trainer beside their bytes."""
        thread, trainers, rounds = self._threads[trainer], len(self._threads), self._parameters.ring_rounds
        self._expect(trainer)
        self._joined += 1
        if self._joined == trainers:
            self._joined, self._round_s = 0, overhead_s / rounds
            self._to_send, self._to_add = [rounds] * trainers, [rounds] * trainers
            for one in range(trainers):
                self._pass_on(one)
        for _ in range(rounds):
            yield thread.receive()
            yield from thread.compute_any(self._round_s)
            self._to_add[trainer] -= 1
            if self._to_add[trainer]:
                self._expect(trainer)
            self._pass_on(trainer)
            self._pass_on(trainer - 1)

    def _expect(self, trainer: int) -> None:
        """Announce to the trainer before (to the last, -1, for the first) that this one is ready for the next part."""
        own, before = self._threads[trainer].host, self._threads[trainer - 1].host
        way_s = self._links.latency_s[own][before] + self._links.queueing_s(own, before, self._env.now)
        self._expected_s[trainer - 1] = self._env.now + way_s

    def _pass_on(self, trainer: int) -> None:
        """Send the next part, if the part that it needs and, at the next trainer, the last one have been added."""
        after, left = (trainer + 1) % len(self._threads), self._to_send[trainer]
        if not left or self._to_add[trainer] > left or self._to_add[after] > left:
            return
        self._to_send[trainer] = left - 1
        source, target = self._threads[trainer].host, self._threads[after].host
        if source == target:
            self._links.deliver(None, self._threads[after].inbox, self._env.now)
        else:
            self._links.send(
                None, self._threads[after].inbox, source, target, self._parameters.ring_round_bytes, in_pieces=False,
                extra_s=max(self._expected_s[trainer] - self._env.now, 0.0),
                messages=self._parameters.rounds_per_modelled_round,
            )  # fmt: skip
