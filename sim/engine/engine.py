"""The compiled engine: threads run tasks on cores, links and servers, in simulated time.

Its face is that of `sim.engine.reference`. What happens is in `sim.engine.threads`.

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
   next task as in (a) to (c). If there is none, SimPy is told.
6. Arrivals of messages, and threads whose time slice has come, in the order in which these were scheduled. A short
   message is scheduled when it is sent, a flow when it is done (8), a thread when it finds no free core. A request goes
   to the end of its host's queue, and the idle server with the lowest number takes the first of the queue. A response
   goes to the end of its thread's inbox, and the thread goes on as in 5 if it waits. A part of gradients is added.
7. Jobs that end, pool by pool in the order of their numbers, within a pool in the order in which they began. A
   trainer's thread goes on as in 5. A server sends its response, then the sender of that connection starts to copy if
   it is idle, then the server takes the next request. A sender copies what has come meanwhile.
8. Flows. If one has started at this instant, or one is done, or a link's rate changes, all flows are brought up to
   date. Those that are done leave, in the order in which they started, and are scheduled for 6 (at this instant if
   nothing delays them). The others share the links anew.

Within 5, a thread that calls sends its requests in the order of the owners' numbers. It sends them when the work before
the call ends and before the overlapped work starts. It scatters responses in the order of its inbox. The last trainer
that joins an all-reduce makes all trainers send their first part, in the order of their numbers. A trainer that has
added a part first tells the one before it that it expects the next, then sends its own next part if it may, and then
lets the one before it send if that may.

Rounding must not decide: a flow that needs 1e-9 s more is done (`sim.engine.links.DONE_S`), and an instant within
1e-9 s before an edge of a period counts as after it (`sim.engine.cores.EDGE_S`).
"""

from __future__ import annotations

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.environment import EngineEnvironment
from sim.engine.layout import (
    ASKING,
    ASLEEP,
    AT,
    BIN_S,
    BYTES_PER_S,
    CORES,
    GIVEN,
    GIVES,
    PERMITS,
    PROGRAMS,
    SERVERS,
    STEPS,
    TAKES,
    make_state,
)
from sim.engine.parameters import EngineParameters
from sim.engine.tasks import NEVER, STEP, TASK_TIMES, THREADS_PER_TRAINER
from sim.engine.threads import NOBODY, advance


class CompiledEngine:
    """Cores, links and feature servers in simulated time, as compiled functions over arrays."""

    def __init__(self, env: EngineEnvironment, parameters: EngineParameters) -> None:
        self._env, self._state = env, make_state(parameters)
        self._done: dict[int, simpy.Event] = {}
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
        """Happens when a trainer's thread has gone through all of its tasks, one after another.

        `tasks` (tasks, steps) are of `sim.engine.tasks.STEP`; `rows` (tasks, steps, hosts) is what a trainer's first
        thread asks each host for, float64. No more than `tasks_per_epoch` tasks and `MOST_STEPS` steps. With
        `needs_token`, each task takes a token to begin; `releases` says when it gives one to the trainer's other thread
        (`sim.engine.tasks`).
        """
        number, (count, steps) = trainer * THREADS_PER_TRAINER + thread, tasks.shape
        state, done = self._state, self._env.event()
        for column, field in enumerate(STEP.names or ()):
            state.programs[number, :count, :steps, column] = tasks[field]
        if rows is not None:
            state.rows[trainer, :count, :steps] = rows
        of_thread = state.threads[number]
        of_thread[PROGRAMS], of_thread[STEPS], of_thread[TAKES], of_thread[GIVES] = count, steps, needs_token, releases
        of_thread[AT] = 0
        self._line_up(ASKING, number)
        self._done[number] = done
        return done

    def give(self, trainer: int, thread: int, tokens: int = 1) -> None:
        """Give a trainer's thread tokens for its tasks."""
        number = trainer * THREADS_PER_TRAINER + thread
        self._state.threads[number, PERMITS] += tokens
        self._line_up(GIVEN, number)

    def work(self, trainer: int, thread: int, demand_s: float, cores: float) -> simpy.Event:
        """Happens when a trainer's thread has computed on `cores` what takes `demand_s` where nothing else runs."""
        self._state.threads[trainer * THREADS_PER_TRAINER + thread, [CORES, ASLEEP]] = cores, 1.0
        task = np.zeros((1, 1), STEP)
        task["before_s"] = demand_s
        return self.run(trainer, thread, task)

    def times(self, trainer: int, thread: int) -> NDArray:
        """When a thread went through its latest tasks: shape (tasks,), of `sim.engine.tasks.TASK_TIMES`."""
        number = trainer * THREADS_PER_TRAINER + thread
        times = self._state.times[number, : int(self._state.threads[number, PROGRAMS])]
        return times.view(TASK_TIMES)[:, 0]

    def record_use(self, bins: int, bin_s: float) -> None:
        """Record how busy links and servers are in `bins` intervals of `bin_s`; what comes later adds up in the last
        one."""
        state = self._state
        state.fixed[BIN_S] = bin_s
        self._state = state._replace(used=np.zeros((bins, len(state.links) + len(state.queues))))

    def shares_used(self) -> NDArray[np.float64]:
        """What was recorded, over what links and servers could have done: shape (bins, links + hosts)."""
        state = self._state
        could = np.concatenate([state.links[:, BYTES_PER_S], np.full(len(state.queues), state.fixed[SERVERS])])
        return state.used / (could * state.fixed[BIN_S])

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """As `sim.engine.environment.Model` says."""
        at, whose = advance(now, until, self._state)
        return None if whose == NOBODY else (at, self._done.pop(whose))

    def _line_up(self, which: int, thread: int) -> None:
        """As `sim.engine.threads.line_up`."""
        ready = self._state.ready[which]
        ready[2 + ready[0] % (len(ready) - 2)] = thread
        ready[0] += 1
