"""The simulated cluster as trainers use it: threads that run programs of work and calls."""

from __future__ import annotations

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.calls import NOBODY, advance
from sim.clock import Clock
from sim.state import (
    BEGINNING,
    BESIDE_TOOK_S,
    CORES,
    ENDED_AT,
    STEPS,
    THREADS_PER_TRAINER,
    State,
)


class Fabric:
    """Cores, links and feature servers in simulated time. What happens on them is in `sim.calls`."""

    def __init__(self, env: Clock, state: State) -> None:
        self._env, self._state = env, state
        self._done: dict[int, simpy.Event] = {}
        env.model = self

    def run(self, trainer: int, thread: int, program: NDArray, rows: NDArray | None = None) -> simpy.Event:
        """Happens when a trainer's thread has taken all steps of a program.

        `program` (steps, 4) has the kind of each step's call and the work before, beside and after it; `rows` (steps,
        hosts) what a first thread asks each host for, float64. No more than `MOST_STEPS` steps.
        """
        number, steps = trainer * THREADS_PER_TRAINER + thread, len(program)
        state, done = self._state, self._env.event()
        state.program[number, :steps, :ENDED_AT] = program
        if rows is not None:
            state.rows[trainer, :steps] = rows
        state.threads[number, STEPS] = steps
        state.beginning[int(state.clock[BEGINNING])] = number
        state.clock[BEGINNING] += 1
        self._done[number] = done
        return done

    def work(self, trainer: int, thread: int, work_s: float, cores: float) -> simpy.Event:
        """Happens when a trainer's thread has computed on `cores` what takes `work_s` where nothing else runs."""
        self._state.threads[trainer * THREADS_PER_TRAINER + thread, CORES] = cores
        return self.run(trainer, thread, np.array([[0.0, work_s, 0.0, 0.0]]))

    def ended_at(self, trainer: int, thread: int) -> list[float]:
        """When each of the steps of a thread's latest program had ended."""
        return self._state.program[trainer * THREADS_PER_TRAINER + thread, :, ENDED_AT].tolist()

    def beside_s(self, trainer: int, step: int) -> float:
        """How long the work beside one of the calls of a trainer's first thread took."""
        return self._state.program[trainer * THREADS_PER_TRAINER, step, BESIDE_TOOK_S].item()

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """As `sim.clock.Model` says."""
        at, whose = advance(now, until, self._state)
        return None if whose == NOBODY else (at, self._done.pop(whose))
