"""DistDGL's pull: a request to every owner back-to-back, a queue at each server, responses scattered one by one."""

from __future__ import annotations

import simpy
from numpy.typing import NDArray

from sim.clock import Clock
from sim.network import Laws, State, arrive, begin


class Fabric:
    """Links and feature servers of a cluster, in simulated time. What a fetch goes through is in `sim.network`."""

    def __init__(self, env: Clock, state: State, laws: Laws) -> None:
        self._env, self._state, self._laws = env, state, laws
        self._arrival: simpy.Event | None = None
        self._under_way: dict[int, tuple[simpy.Event, float, float]] = {}

    def fetch(self, trainer: int, host: int, rows_by_owner: NDArray, gather_s: float, after_s: float) -> simpy.Event:
        """Happens `after_s` after all rows are in place, which took as many seconds as its value says.

        `rows_by_owner` (int64) has a count a host; the local gather takes `gather_s`. A trainer fetches one minibatch
        at a time.
        """
        now = self._env.now
        if not rows_by_owner.any():
            return self._env.at(now + gather_s + after_s, now + gather_s - now)
        done = self._env.event()
        self._under_way[trainer] = done, now, after_s
        self._wait(begin(now, trainer, host, rows_by_owner, gather_s, self._state, self._laws))
        return done

    def _wait(self, arrives_at: float) -> None:
        """Wait for the next arrival, which was planned for another moment before another fetch began."""
        self._arrival = self._env.at(arrives_at) if self._under_way else None
        if self._arrival is not None:
            self._arrival.callbacks.append(self._arrive)

    def _arrive(self, event: simpy.Event) -> None:
        if event is not self._arrival:
            return
        trainer, in_place_at, next_at = arrive(self._state, self._laws)
        done, since, after_s = self._under_way.pop(trainer)
        self._env.plan(done, in_place_at + after_s, in_place_at - since)
        self._wait(next_at)
