"""Cores as a processor-sharing resource: the threads that compute on a host get equal parts of its cores.

A pool with C cores and work for n has a virtual time that goes on at min(1, C / n) of the real one, so that a job that
starts now ends when the virtual time has gone on by its work (Parekh and Gallager, 1993). A thread that has slept gets
a core at once, or after a time slice if none is free. Two threads of one interpreter hold its lock in turn: while both
work, each keeps a part of a core busy, and takes as much longer. Does not model priorities.
"""

from __future__ import annotations

import math

import numpy as np

from sim.compiled import part
from sim.engine import parameters
from sim.engine.event_heap import arrive_at
from sim.engine.layout import (
    ASLEEP,
    BUSY,
    CORES,
    DONE_AT,
    END,
    FACTOR,
    HOST,
    IDLE,
    JOBS,
    POOL,
    POOL_CORES,
    POOL_NEXT,
    POOL_SINCE,
    REPEAT_S,
    SENDING,
    SERVING,
    SIBLING,
    STAGE,
    START,
    TOGETHER,
    VIRTUAL,
    WAITING,
    WHAT,
    WHICH,
)

EDGE_S = 1e-9
"""So close to its edge a period has begun or ended: rounding must not decide."""

TIME_SLICE_S = 1e-3
"""How long a thread that wakes up waits for one of the cores that others keep busy. Linux's scheduler lets a thread run
for 0.7 ms times 1 + log2 of the cores, at most 2.8 ms, before another one may have its core (EEVDF, its default); a
thread that wakes up waits for what is left of that, somewhat less."""


@part
def start_job(thread, work_s, now, c):  # type: ignore[no-untyped-def]
    """Let a thread compute for as long as `work_s` seconds take on a core of its own, as soon as it has one."""
    pool, slept = int(c.threads[thread, POOL]), c.threads[thread, ASLEEP]
    c.threads[thread, ASLEEP] = 0.0
    if slept and c.pools[pool, BUSY] + c.threads[thread, CORES] > c.pools[pool, POOL_CORES]:
        c.threads[thread, DONE_AT] = work_s
        arrive_at(c.messages.shape[0] + thread, now + TIME_SLICE_S, c)
    else:
        begin_job(thread, work_s, now, c)


@part
def begin_job(thread, work_s, now, c):  # type: ignore[no-untyped-def]
    """Put a job among those of its pool."""
    sibling = int(c.threads[thread, SIBLING])
    if sibling >= 0:
        both = c.threads[sibling, STAGE] != IDLE and c.threads[sibling, STAGE] != WAITING
        c.threads[thread, CORES] = 1.0 / c.fixed[TOGETHER] if both else 1.0
        work_s /= c.threads[thread, CORES]
    for i in range(c.periods.shape[0]):
        if c.periods[i, WHICH] == c.threads[thread, HOST] and within(i, now, c):
            what, stage = c.periods[i, WHAT], c.threads[thread, STAGE]
            if what == parameters.HOST or (what == parameters.SERVERS and stage in (SERVING, SENDING)):
                work_s /= c.periods[i, FACTOR]
    pool = int(c.threads[thread, POOL])
    c.pools[pool, VIRTUAL] += (now - c.pools[pool, POOL_SINCE]) * pace(pool, c)
    c.pools[pool, POOL_SINCE] = now
    c.threads[thread, DONE_AT] = c.pools[pool, VIRTUAL] + work_s
    at = int(c.pools[pool, JOBS])
    while at > 0 and c.threads[c.jobs[pool, at - 1], DONE_AT] <= c.threads[thread, DONE_AT]:
        c.jobs[pool, at] = c.jobs[pool, at - 1]  # jobs that end together end as they began
        at -= 1
    c.jobs[pool, at] = thread
    c.pools[pool, JOBS] += 1
    c.pools[pool, BUSY] += c.threads[thread, CORES]
    plan(pool, c)


@part
def within(i, now, c):  # type: ignore[no-untyped-def]
    """Whether `now` lies in a period, or in one of its repetitions."""
    since_s = now + EDGE_S - c.periods[i, START]
    if since_s >= c.periods[i, REPEAT_S]:
        since_s -= math.floor(since_s / c.periods[i, REPEAT_S]) * c.periods[i, REPEAT_S]
    return 0.0 <= since_s < c.periods[i, END] - c.periods[i, START]


@part
def end_job(pool, c):  # type: ignore[no-untyped-def]
    """Take out the job that ends next, at the time when it does. Returns its thread."""
    c.pools[pool, JOBS] -= 1
    thread = c.jobs[pool, int(c.pools[pool, JOBS])]
    c.pools[pool, POOL_SINCE] = c.pools[pool, POOL_NEXT]
    c.pools[pool, VIRTUAL] = c.threads[thread, DONE_AT]
    c.pools[pool, BUSY] -= c.threads[thread, CORES]
    plan(pool, c)
    return thread


@part
def plan(pool, c):  # type: ignore[no-untyped-def]
    """Find when a job of the pool ends next."""
    jobs = int(c.pools[pool, JOBS])
    soonest = c.threads[c.jobs[pool, jobs - 1], DONE_AT] if jobs else np.inf
    left_s = max(soonest - c.pools[pool, VIRTUAL], 0.0)
    c.pools[pool, POOL_NEXT] = c.pools[pool, POOL_SINCE] + left_s / pace(pool, c)


@part
def pace(pool, c):  # type: ignore[no-untyped-def]
    """How much of a core each of a pool's jobs has."""
    return min(1.0, c.pools[pool, POOL_CORES] / max(c.pools[pool, BUSY], 1e-9))
