"""Cores as a processor-sharing resource: the threads that compute on a host get equal parts of its cores.

A pool with C cores and work for n has a virtual time that goes on at min(1, C / n) of the real one. A job that starts
now ends when the virtual time has gone on by the job's work (Parekh and Gallager, 1993). A thread that has slept gets a
core at once, or after a time slice if none is free. Two threads of one interpreter hold its lock in turn: while both
work, each keeps a part of a core busy, and takes as much longer. Does not model priorities.
"""

from __future__ import annotations

import numpy as np

from sim.compiled import part
from sim.engine.event_heap import schedule
from sim.engine.layout import IDLE, SENDING, SERVING, WAITING
from sim.engine.parameters import HOST, SERVERS
from sim.engine.periods import in_period

TIME_SLICE_S = 1e-3
"""How long a thread that wakes up waits for a core when all are busy. Linux's scheduler lets a thread run for 0.7 ms
times 1 + log2 of the cores, at most 2.8 ms, before another one may have its core (EEVDF, its default); a thread that
wakes up waits for what is left of that, somewhat less."""

FREE_CORES = 1e-9
"""A core counts as free if jobs exceed the cores by no more than this, so that rounding doesn't decide."""


@part
def submit_job(number, demand_s, now, threads, cores, event, events):  # type: ignore[no-untyped-def]
    """Start a thread's job of `demand_s` seconds, now if a core is free, else after a time slice; `event` is the number
    of the event at the end of that."""
    thread, slept = threads[number], threads[number].asleep
    pool = cores.pools[thread.pool]
    thread.asleep = False
    if slept and pool.busy_cores + thread.cores > pool.cores + FREE_CORES:
        thread.demand_s = demand_s
        schedule(event, now + TIME_SLICE_S, events)
    else:
        start_job(number, demand_s, now, threads, cores)


@part
def start_job(number, demand_s, now, threads, cores):  # type: ignore[no-untyped-def]
    """Put a thread's job among those of its pool."""
    thread = threads[number]
    if thread.gil_peer >= 0:
        peer_stage = threads[thread.gil_peer].stage
        both = peer_stage != IDLE and peer_stage != WAITING
        thread.cores = 1.0 / cores.gil_slowdown if both else 1.0
        demand_s /= thread.cores
    for i in range(cores.periods.shape[0]):
        period = cores.periods[i]
        if period.which == thread.host and in_period(period, now):
            serves = thread.stage == SERVING or thread.stage == SENDING
            if period.what == HOST or (period.what == SERVERS and serves):
                demand_s /= period.factor
    pool, jobs = cores.pools[thread.pool], cores.jobs[thread.pool]
    pool.virtual_s += (now - pool.settled_s) * core_share(pool)
    pool.settled_s = now
    thread.virtual_end_s = pool.virtual_s + demand_s
    at = pool.jobs
    while at > 0 and threads[jobs[at - 1]].virtual_end_s <= thread.virtual_end_s:
        jobs[at] = jobs[at - 1]  # jobs that end together end as they began
        at -= 1
    jobs[at] = number
    pool.jobs += 1
    pool.busy_cores += thread.cores
    plan_next_end(pool, jobs, threads)


@part
def end_job(number, threads, cores):  # type: ignore[no-untyped-def]
    """End the job of a pool that ends first, at the time of its end. Returns its thread."""
    pool, jobs = cores.pools[number], cores.jobs[number]
    pool.jobs -= 1
    ended = jobs[pool.jobs]
    pool.settled_s = pool.next_end_s
    pool.virtual_s = threads[ended].virtual_end_s
    pool.busy_cores -= threads[ended].cores
    plan_next_end(pool, jobs, threads)
    return ended


@part
def plan_next_end(pool, jobs, threads):  # type: ignore[no-untyped-def]
    """Find when a job of the pool ends next."""
    soonest_s = threads[jobs[pool.jobs - 1]].virtual_end_s if pool.jobs else np.inf
    left_s = max(soonest_s - pool.virtual_s, 0.0)
    pool.next_end_s = pool.settled_s + left_s / core_share(pool)


@part
def core_share(pool):  # type: ignore[no-untyped-def]
    """The share of a core that each job of a pool has."""
    return min(1.0, pool.cores / max(pool.busy_cores, 1e-9))
