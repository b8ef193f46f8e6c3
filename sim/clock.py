"""SimPy's environment, with events at absolute times."""

from __future__ import annotations

from heapq import heappush
from typing import Any

import simpy
from simpy.events import NORMAL


class Clock(simpy.Environment):
    """An environment that can be told when, and not only how much later.

    `timeout` adds a delay to the current time. An event that was planned at different moments would then happen at
    times that differ in their last digit, and results would depend on how often plans changed.
    """

    def at(self, time_s: float, value: Any = None) -> simpy.Event:
        """An event that happens at `time_s`, which must not have passed."""
        event = simpy.Event(self)
        self.plan(event, time_s, value)
        return event

    def plan(self, event: simpy.Event, time_s: float, value: Any = None) -> None:
        """Let an event happen at `time_s`, which must not have passed."""
        event._ok, event._value = True, value
        heappush(self._queue, (time_s, NORMAL, next(self._eid), event))
