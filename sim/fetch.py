"""The simulated cluster as trainers use it: threads that run programs of work and calls, and all-reduces."""

from __future__ import annotations

import simpy
from numpy.typing import NDArray

from sim.calls import NOBODY, advance
from sim.clock import Clock
from sim.state import (
    BEFORE_S,
    BEGINNING,
    BESIDE_TOOK_S,
    CORES,
    ENDED_AT,
    ROUND_S,
    ROUNDS,
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

    def run(self, trainer: int, program: NDArray, rows: NDArray) -> simpy.Event:
        """Happens when a trainer's first thread has made its calls, one after another.

        `program` (calls, 4) has the kind of each and the work before, beside and after it; `rows` (calls, hosts) what
        it asks each host for, float64. No more than `MOST_STEPS` calls.
        """
        thread, calls = trainer * THREADS_PER_TRAINER, len(program)
        self._state.program[thread, :calls, :ENDED_AT] = program
        self._state.rows[trainer, :calls] = rows
        return self._begin(thread, calls)

    def ended_at(self, trainer: int) -> list[float]:
        """When each of the calls of a trainer's latest program had ended."""
        return self._state.program[trainer * THREADS_PER_TRAINER, :, ENDED_AT].tolist()

    def beside_s(self, trainer: int, call: int) -> float:
        """How long the work beside one of these calls took."""
        return self._state.program[trainer * THREADS_PER_TRAINER, call, BESIDE_TOOK_S].item()

    def work(self, trainer: int, thread: int, work_s: float, cores: float = 1.0) -> simpy.Event:
        """Happens when another of a trainer's threads has computed what takes `work_s` where nothing else runs."""
        number = trainer * THREADS_PER_TRAINER + thread
        self._state.program[number, 0, BEFORE_S] = work_s
        self._state.threads[number, CORES] = cores
        return self._begin(number, 1)

    def reduce(self, delay_s: float) -> simpy.Event:
        """Happens when an all-reduce of all trainers' gradients, which takes `delay_s` beside the bytes, is done."""
        clock = self._state.clock
        clock[ROUND_S] = delay_s / self._state.fixed[ROUNDS]
        return self._begin(len(self._state.threads), 0)

    def _begin(self, number: int, steps: int) -> simpy.Event:
        state, done = self._state, self._env.event()
        if steps:
            state.threads[number, STEPS] = steps
        state.beginning[int(state.clock[BEGINNING])] = number
        state.clock[BEGINNING] += 1
        self._done[number] = done
        return done

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """As `sim.clock.Model` says."""
        at, whose = advance(now, until, self._state)
        return None if whose == NOBODY else (at, self._done.pop(whose))
