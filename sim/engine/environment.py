"""SimPy's environment, coupled with a model that has its own events between SimPy's."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush
from typing import Protocol

import simpy
from simpy.events import NORMAL


class Model(Protocol):
    """A model with events of its own, some of which trigger events of SimPy."""

    def advance(self, now: float, until: float) -> tuple[float, simpy.Event] | None:
        """Process the model's events in time order from `now` until one triggers an event of SimPy, or the next one is
        at or after `until`. Returns the time and the triggered event, or None."""


class EngineEnvironment(simpy.Environment):
    """An environment that advances a model to the next event, and processes the events that the model triggers."""

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
        """Schedule an event at `time_s`, which must not have passed; at one instant lower priorities come first."""
        event._ok, event._value = True, None
        heappush(self._queue, (time_s, priority, next(self._eid), event))

    def at(self, time_s: float, priority: float, then: Callable[[simpy.Event], object] | None = None) -> simpy.Event:
        """An event that happens at `time_s`, as `plan` says, and calls `then`."""
        event = self.event()
        if then is not None:
            event.callbacks.append(then)
        self.plan(event, time_s, priority)
        return event
