"""The simulated cluster as trainers use it: threads that run programs of work and calls."""

from __future__ import annotations

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.engine.environment import Clock
from sim.engine.layout import (
    ASKING,
    ASLEEP,
    AT,
    CORES,
    GIVEN,
    GIVES,
    NEVER,
    PERMITS,
    PROGRAMS,
    STEPS,
    TAKES,
    THREADS_PER_TRAINER,
    State,
)
from sim.engine.threads import NOBODY, advance


class Fabric:
    """Cores, links and feature servers in simulated time. What happens on them is in `sim.engine.threads`."""

    def __init__(self, env: Clock, state: State) -> None:
        self._env, self._state = env, state
        self._done: dict[int, simpy.Event] = {}
        env.model = self

    def run(
        self,
        trainer: int,
        thread: int,
        programs: NDArray,
        rows: NDArray | None = None,
        *,
        takes: bool = False,
        gives: int = NEVER,
    ) -> simpy.Event:
        """Happens when a trainer's thread has gone through all of its programs, one after another.

        `programs` (programs, steps, 4) has the kind of each step's call and the work before, beside and after it;
        `rows` (programs, steps, hosts) what a first thread asks each host for, float64. No more than an epoch's
        minibatches and `MOST_STEPS` steps. With `takes`, each program waits for a permit; `gives` says when the
        trainer's other thread is given one (`sim.engine.layout`).
        """
        number, (count, steps) = trainer * THREADS_PER_TRAINER + thread, programs.shape[:2]
        state, done = self._state, self._env.event()
        state.programs[number, :count, :steps] = programs
        if rows is not None:
            state.rows[trainer, :count, :steps] = rows
        of_thread = state.threads[number]
        of_thread[PROGRAMS], of_thread[STEPS], of_thread[TAKES], of_thread[GIVES] = count, steps, takes, gives
        of_thread[AT] = 0
        self._line_up(ASKING, number)
        self._done[number] = done
        return done

    def give(self, trainer: int, thread: int, permits: int = 1) -> None:
        """Give a trainer's thread permits for its programs."""
        number = trainer * THREADS_PER_TRAINER + thread
        self._state.threads[number, PERMITS] += permits
        self._line_up(GIVEN, number)

    def work(self, trainer: int, thread: int, work_s: float, cores: float) -> simpy.Event:
        """Happens when a trainer's thread has computed on `cores` what takes `work_s` where nothing else runs."""
        self._state.threads[trainer * THREADS_PER_TRAINER + thread, [CORES, ASLEEP]] = cores, 1.0
        return self.run(trainer, thread, np.array([[[0.0, work_s, 0.0, 0.0]]]))

    def times(self, trainer: int, thread: int) -> NDArray[np.float64]:
        """When a thread went through its latest programs, by `sim.engine.layout.TIMES`: a view of shape (programs,
        times)."""
        number = trainer * THREADS_PER_TRAINER + thread
        return self._state.times[number, : int(self._state.threads[number, PROGRAMS])]

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """As `sim.engine.environment.Model` says."""
        at, whose = advance(now, until, self._state)
        return None if whose == NOBODY else (at, self._done.pop(whose))

    def _line_up(self, which: int, thread: int) -> None:
        """As `sim.engine.threads.line_up`."""
        ready = self._state.ready[which]
        ready[2 + ready[0] % (len(ready) - 2)] = thread
        ready[0] += 1
