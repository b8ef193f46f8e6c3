"""What threads do: programs of work and calls, one after another, and what happens on the cluster meanwhile.

A *call* is DistDGL's way to ask for anything remote: build the requests, send them back-to-back, do the local part of
the work, and put the responses in place one after another as they come. A *program* is some calls in a row: what one
thread of a trainer does for a minibatch. Between its programs it may have to wait for a permit, which the trainer's
other thread gives: a minibatch that is prepared, or a place for one. Work is done on cores (`sim.engine.cores`), calls
are made in `sim.engine.rpc`, gradients summed up in `sim.engine.allreduce`.

These are compiled functions over arrays, because a run has dozens of such events for every minibatch of every trainer.
"""

from __future__ import annotations

import numpy as np

from sim.compiled import kernel, part
from sim.engine.allreduce import added, join
from sim.engine.cores import begin_job, end_job, start_job
from sim.engine.event_heap import next_due
from sim.engine.layout import (
    AFTER,
    AFTER_S,
    ASKED_AT,
    ASKING,
    ASLEEP,
    AT,
    BEFORE,
    BEFORE_S,
    BEGAN_AT,
    BEGINNING,
    BESIDE,
    BESIDE_S,
    BESIDE_TOOK_S,
    CHANGED,
    DONE_AT,
    DUE,
    ENDED_AT,
    FLOWING,
    GIVEN,
    GIVES,
    IDLE,
    INBOX,
    KIND,
    NEXT_DONE,
    PENDING,
    PERMITS,
    POOL_NEXT,
    PROGRAMS,
    PUT_S_PER_ROW,
    PUTTING,
    ROWS,
    SENDING,
    SERVING,
    SIBLING,
    SINCE,
    STAGE,
    STEP,
    STEPS,
    TAKES,
    WAITING,
    WAITS,
    WOKEN,
)
from sim.engine.links import share
from sim.engine.rpc import answer, arrived, ask, copy
from sim.engine.tasks import ON_BEGIN, ON_END, ON_REQUEST, PREPARE, REDUCE, THREADS_PER_TRAINER

NOBODY = -1
"""Whose programs `advance` says have ended, where none have."""


@kernel
def advance(now, until, c):  # type: ignore[no-untyped-def]
    """Let happen all that happens from `now` on and before `until`, up to the end of the first thread's last program.

    Returns when that was and which thread it is, or `until` and `NOBODY`.
    """
    while True:
        thread = NOBODY
        if lined_up(GIVEN, c):
            wake(next_of(GIVEN, c), c)
        elif lined_up(ASKING, c):
            next_program(next_of(ASKING, c), now, c)
        elif lined_up(WOKEN, c):
            take(next_of(WOKEN, c), now, c)
        elif lined_up(BEGINNING, c):
            thread = next_of(BEGINNING, c)
            c.threads[thread, STEP] = -1
        else:
            soonest, pool = np.inf, -1
            for i in range(c.pools.shape[0]):
                if c.pools[i, POOL_NEXT] < soonest:
                    soonest, pool = c.pools[i, POOL_NEXT], i
            if c.clock[DUE] and c.due_at[0] <= soonest:
                soonest, pool = c.due_at[0], -1
            flows_at = np.inf
            if c.clock[FLOWING]:
                flows_at = c.clock[SINCE] if c.clock[CHANGED] else c.clock[NEXT_DONE]
            now = min(soonest, flows_at)
            if now >= until:
                return until, NOBODY
            if flows_at < soonest:
                share(now, c)
            elif pool >= 0:
                thread = end_job(pool, c)
                if c.threads[thread, STAGE] == SERVING:
                    answer(thread, now, c)
                    thread = NOBODY
                elif c.threads[thread, STAGE] == SENDING:
                    copy(thread, now, c)
                    thread = NOBODY
            else:
                message = next_due(c)
                woken = message - c.messages.shape[0]
                if woken < 0:
                    thread = arrived(message, now, c)
                else:
                    begin_job(woken, c.threads[woken, DONE_AT], now, c)
        if thread != NOBODY and go_on(thread, now, c) and ended(thread, now, c):
            return now, thread


@part
def line_up(which, thread, c):  # type: ignore[no-untyped-def]
    """Put a thread at the end of a queue."""
    c.ready[which, 2 + c.ready[which, 0] % c.threads.shape[0]] = thread
    c.ready[which, 0] += 1


@part
def lined_up(which, c):  # type: ignore[no-untyped-def]
    """Whether there is a thread in a queue."""
    return c.ready[which, 0] > c.ready[which, 1]


@part
def next_of(which, c):  # type: ignore[no-untyped-def]
    """Take the first thread out of a queue."""
    c.ready[which, 1] += 1
    return c.ready[which, 2 + (c.ready[which, 1] - 1) % c.threads.shape[0]]


@part
def next_program(thread, now, c):  # type: ignore[no-untyped-def]
    """Let a thread begin its next program, if need be as soon as it has a permit."""
    c.times[thread, int(c.threads[thread, AT]), ASKED_AT] = now
    if c.threads[thread, GIVES] == ON_REQUEST:
        give(int(c.threads[thread, SIBLING]), c)
    if not c.threads[thread, TAKES] or c.threads[thread, PERMITS]:
        take(thread, now, c)
    else:
        c.threads[thread, WAITS] = 1.0
        turns = (
            c.threads[thread, GIVES] == ON_REQUEST or c.threads[int(c.threads[thread, SIBLING]), GIVES] == ON_REQUEST
        )
        c.threads[thread, ASLEEP] = 0.0 if turns else 1.0  # those that take turns are one thread in reality


@part
def give(thread, c):  # type: ignore[no-untyped-def]
    """Give a thread a permit."""
    c.threads[thread, PERMITS] += 1.0
    wake(thread, c)


@part
def wake(thread, c):  # type: ignore[no-untyped-def]
    """Let a thread go on if it waits for a permit that it has been given."""
    if c.threads[thread, WAITS]:
        c.threads[thread, WAITS] = 0.0
        line_up(WOKEN, thread, c)


@part
def take(thread, now, c):  # type: ignore[no-untyped-def]
    """Let a thread begin a program, with a permit if need be."""
    if c.threads[thread, TAKES]:
        c.threads[thread, PERMITS] -= 1.0
    c.times[thread, int(c.threads[thread, AT]), BEGAN_AT] = now
    line_up(BEGINNING, thread, c)
    if c.threads[thread, GIVES] == ON_BEGIN:
        give(int(c.threads[thread, SIBLING]), c)


@part
def ended(thread, now, c):  # type: ignore[no-untyped-def]
    """A thread's program has ended. Returns whether it was the last one."""
    if c.threads[thread, GIVES] == ON_END:
        give(int(c.threads[thread, SIBLING]), c)
    c.threads[thread, AT] += 1.0
    if c.threads[thread, AT] == c.threads[thread, PROGRAMS]:
        return True
    next_program(thread, now, c)
    return False


@part
def go_on(thread, now, c):  # type: ignore[no-untyped-def]
    """Take a trainer's thread into its next stage, and past those that take no time. Returns whether its program has
    ended."""
    at = int(c.threads[thread, AT])
    while True:
        stage, step, work_s = c.threads[thread, STAGE], int(c.threads[thread, STEP]), 0.0
        if stage in (IDLE, AFTER):
            if stage == AFTER:
                c.times[thread, at, ENDED_AT + step] = now
            step += 1
            c.threads[thread, STEP] = step
            if step == c.threads[thread, STEPS]:
                c.threads[thread, STAGE] = IDLE
                return True
            c.threads[thread, STAGE], work_s = BEFORE, c.programs[thread, at, step, BEFORE_S]
        elif stage == BEFORE and c.programs[thread, at, step, KIND] == REDUCE:
            c.threads[thread, STAGE], c.threads[thread, ASLEEP] = WAITING, 1.0
            join(thread, now, c)
            return False
        elif stage == BEFORE:
            if thread % THREADS_PER_TRAINER == PREPARE:
                ask(thread, now, c)
            c.times[thread, at, BESIDE_TOOK_S + step] = -now
            c.threads[thread, STAGE], work_s = BESIDE, c.programs[thread, at, step, BESIDE_S]
        else:
            if stage == BESIDE:
                c.times[thread, at, BESIDE_TOOK_S + step] += now
            elif stage == PUTTING and c.programs[thread, at, step, KIND] == REDUCE:
                added(thread, now, c)
            message = int(c.threads[thread, INBOX])
            if message >= 0:
                c.threads[thread, INBOX] = c.following[message]
                c.threads[thread, PENDING] -= 1
                c.threads[thread, STAGE] = PUTTING
                work_s = c.messages[message, ROWS] * c.kinds[int(c.programs[thread, at, step, KIND]), PUT_S_PER_ROW]
            elif c.threads[thread, PENDING]:
                c.threads[thread, STAGE], c.threads[thread, ASLEEP] = WAITING, 1.0
                return False
            else:
                c.threads[thread, STAGE], work_s = AFTER, c.programs[thread, at, step, AFTER_S]
        if work_s > 0.0:
            start_job(thread, work_s, now, c)
            return False
