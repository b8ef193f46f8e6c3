"""Slow periods: whether an instant is in one, and when the next one begins or ends."""

from __future__ import annotations

import math

from sim.compiled import part
from sim.engine.parameters import EDGE_S


@part
def in_period(period, now):  # type: ignore[no-untyped-def]
    """Whether `now` lies in a period, or in one of its repetitions."""
    since_s = now + EDGE_S - period.start_s
    if since_s >= period.repeat_s:
        since_s -= math.floor(since_s / period.repeat_s) * period.repeat_s
    return 0.0 <= since_s < period.end_s - period.start_s


@part
def next_edge_s(periods, now):  # type: ignore[no-untyped-def]
    """When a period begins or ends next after `now`, or infinity."""
    soonest_s = math.inf
    for i in range(periods.shape[0]):
        for edge_s in (periods[i].start_s, periods[i].end_s):
            passed_s, at_s = now + EDGE_S - edge_s, edge_s
            if passed_s >= 0.0 and periods[i].repeat_s < math.inf:
                at_s += (math.floor(passed_s / periods[i].repeat_s) + 1.0) * periods[i].repeat_s
            if at_s > now + EDGE_S:
                soonest_s = min(soonest_s, at_s)
    return soonest_s
