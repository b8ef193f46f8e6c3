"""The compiled engine: threads run tasks on cores, links and servers, in simulated time.

It has the methods of `sim.engine.reference.ReferenceEngine`. `sim.engine.threads` advances it.

**The tie rule.** Several things can happen at one instant. They happen in this order, and after each of them the list
is read anew from its top:

1. SimPy's events, in the order in which they were scheduled. An event that the engine causes (the last task of `run`
   has ended) is scheduled when it happens.
2. Threads that were given tokens by `give`, in the order of the calls. A thread that is blocked goes to the end of the
   queue of 4. The tokens themselves count from the call on.
3. Threads that were given tasks by `run`, in the order of the calls. Each comes to its first task. (a) The task's
   `requested_s` is now. (b) If it releases `ON_REQUEST`, its peer gets a token, and if the peer is blocked it goes to
   the end of the queue of 4. (c) If it needs no token or has one it begins: it takes the token, `began_s` is now, it
   goes to the end of the queue of 5, and then, if it releases `ON_BEGIN`, its peer gets a token as in (b). If it has
   none it is blocked.
4. Threads that were blocked and have a token, in the order in which they were released. Each begins as in (c).
5. Threads that have begun a task, in the order in which they began. Each goes through its stages until one takes time.
   If the task ends meanwhile, its peer gets a token if it releases `ON_END`, as in (b), and the thread comes to its
   next task as in (a) to (c). If there is none, SimPy gets an event.
6. Arrivals of messages, and threads whose time slice has come, in the order in which these were scheduled. A short
   message is scheduled when it is sent, a flow when it is done (8), a thread when it finds no free core. A request goes
   to the end of its host's queue, and the idle server with the lowest number takes the first of the queue. A response
   goes to the end of its thread's inbox, and the thread goes on as in 5 if it waits. A part of gradients is added.
7. Jobs that end, pool by pool in the order of their numbers, within a pool in the order in which they began. A
   trainer's thread goes on as in 5. A server sends its response, then the sender of that connection starts to copy if
   it is idle, then the server takes the next request. A sender copies what has come meanwhile.
8. Flows. If one has started at this instant, or one is done, or a link's rate changes, all flows are brought up to
   date. Those that are done leave, in the order in which they started, and are scheduled for 6 (at this instant if
   nothing delays them). The others share the links anew; of two links that are full at the same level, the one with
   the lower number is the bottleneck of the flows that cross both.

Within 5, a thread that calls sends its requests in the order of the owners' numbers. It sends them when the work before
the call ends and before the overlapped work starts. It scatters responses in the order of its inbox. The last trainer
that joins an all-reduce makes all trainers send their first part, in the order of their numbers. A trainer that has
added a part first announces to the one before it that it is ready for the next, then sends its own next part if it may,
and then lets the one before it send if that may.

So that rounding doesn't decide, a flow that needs 1e-9 s more is done (`sim.engine.links.DONE_S`), and an instant
within 1e-9 s before an edge of a period counts as after it (`sim.engine.parameters.EDGE_S`).
"""

from __future__ import annotations

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.compiled import machine_code
from sim.engine.environment import EngineEnvironment
from sim.engine.layout import GIVEN, STARTED, Use
from sim.engine.parameters import EngineParameters
from sim.engine.state import make_state
from sim.engine.tasks import NEVER, STEP, THREADS_PER_TRAINER
from sim.engine.threads import NOBODY, advance


class CompiledEngine:
    """Cores, links and feature servers in simulated time, as compiled functions over arrays."""

    def __init__(self, env: EngineEnvironment, parameters: EngineParameters) -> None:
        self._env, self._state = env, make_state(parameters)
        self._done: dict[int, simpy.Event] = {}
        self._advance = advance
        env.model = self

    def run(
        self,
        trainer: int,
        thread: int,
        tasks: NDArray,
        rows: NDArray | None = None,
        *,
        needs_token: bool = False,
        releases: int = NEVER,
    ) -> simpy.Event:
        """Run tasks on a trainer's thread, one after another. Returns the event of their end.

        `tasks` (tasks, steps) are of `sim.engine.tasks.STEP`; `rows` (tasks, steps, hosts) is what a trainer's first
        thread asks each host for, float64. No more than `tasks_per_epoch` tasks and `MOST_STEPS` steps. With
        `needs_token`, each task takes a token to begin; `releases` says when it gives one to the trainer's other thread
        (`sim.engine.tasks`).
        """
        number, (count, steps), done = trainer * THREADS_PER_TRAINER + thread, tasks.shape, self._env.event()
        threads = self._state.threads
        threads.tasks[number, :count, :steps] = tasks
        if rows is not None:
            threads.rows[trainer, :count, :steps] = rows
        given = threads.threads[number]
        given["tasks"], given["task"], given["steps"] = count, 0, steps
        given["needs_token"], given["releases"] = needs_token, releases
        self._enqueue(STARTED, number)
        self._done[number] = done
        return done

    def give(self, trainer: int, thread: int, tokens: int = 1) -> None:
        """Give a trainer's thread tokens for its tasks."""
        number = trainer * THREADS_PER_TRAINER + thread
        self._state.threads.threads[number]["tokens"] += tokens
        self._enqueue(GIVEN, number)

    def work(self, trainer: int, thread: int, demand_s: float, cores: float) -> simpy.Event:
        """Run a job of `demand_s` on a trainer's thread, which keeps `cores` busy. Returns the event of its end."""
        working = self._state.threads.threads[trainer * THREADS_PER_TRAINER + thread]
        working["cores"], working["asleep"] = cores, True
        task = np.zeros((1, 1), STEP)
        task["before_s"] = demand_s
        return self.run(trainer, thread, task)

    def times(self, trainer: int, thread: int) -> NDArray:
        """When a thread went through its latest tasks: shape (tasks,), of `sim.engine.tasks.TASK_TIMES`."""
        number, threads = trainer * THREADS_PER_TRAINER + thread, self._state.threads
        return threads.times[number, : threads.threads[number]["tasks"]]

    def record_use(self, bins: int, bin_s: float) -> None:
        """Record how busy links and servers are in `bins` intervals of `bin_s`. What comes later adds up in the last
        one."""
        links, rpc = self._state.links, self._state.rpc
        self._state = self._state._replace(
            links=links._replace(use=Use(np.zeros((bins, len(links.links))), bin_s)),
            rpc=rpc._replace(use=Use(np.zeros((bins, len(rpc.requests))), bin_s)),
        )

    def shares_used(self) -> NDArray[np.float64]:
        """The recorded use over the capacity of links and servers: shape (bins, links + hosts)."""
        links, rpc = self._state.links, self._state.rpc
        could = np.concatenate([links.links["bytes_per_s"], np.full(len(rpc.requests), rpc.servers_per_host)])
        return np.concatenate([links.use.used, rpc.use.used], axis=1) / (could * links.use.bin_s)

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """As `sim.engine.environment.Model` says."""
        at, whose = self._advance(now, until, self._state)
        if self._advance is advance:
            self._advance = machine_code(advance)
        return None if whose == NOBODY else (at, self._done.pop(whose))

    def _enqueue(self, which: int, number: int) -> None:
        """As `sim.engine.threads.enqueue`."""
        threads = self._state.threads
        queue, waiting = threads.queues[which], threads.waiting[which]
        waiting[(queue["first"] + queue["threads"]) % len(waiting)] = number
        queue["threads"] += 1
        threads.queued[0] += 1
