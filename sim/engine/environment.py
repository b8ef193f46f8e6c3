"""SimPy's environment, beside a model that runs on its own between SimPy's events."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Protocol

import simpy
from simpy.events import NORMAL


class Model(Protocol):
    """What happens between events, and now and then causes one."""

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """Let happen what happens from `now` on and before `until`, up to the first thing that SimPy is to know of:
        its time and the event that it causes. None where there is no such thing."""


class EngineEnvironment(simpy.Environment):
    """An environment that lets a model go on until the next event is due, and takes in what the model causes."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.model: Model | None = None

    def step(self) -> None:
        """Process the next event, SimPy's or the model's."""
        due_s = self._queue[0][0] if self._queue else simpy.core.Infinity
        if due_s > self._now and self.model is not None:
            caused = self.model.advance(self._now, due_s)
            if caused is not None:
                self.plan(caused[1], caused[0])
        super().step()

    def plan(self, event: simpy.Event, time_s: float, priority: float = NORMAL) -> None:
        """Let an event happen at `time_s`, which must not have passed; at one instant lower priorities come first."""
        event._ok, event._value = True, None
        heappush(self._queue, (time_s, priority, next(self._eid), event))

    def at(self, time_s: float, priority: float, then: Callable[[simpy.Event], object] | None = None) -> simpy.Event:
        """An event that happens at `time_s`, as `plan` says, and calls `then`."""
        event = self.event()
        if then is not None:
            event.callbacks.append(then)
        self.plan(event, time_s, priority)
        return event
