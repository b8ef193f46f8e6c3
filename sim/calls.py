"""What threads do: a trainer's call goes to every owner, through queues and servers, and responses are put in place.

A *call* is DistDGL's way to ask for anything remote: build the requests, send them back-to-back, do the local part of
the work, and put the responses in place one after another as they come. A *program* is some calls in a row. A server
takes one request at a time. Work is done on cores (`sim.cores`), messages cross links (`sim.network`). An all-reduce is
a ring: in every round each trainer sends a part of the gradients to the next one (Patarasuk and Yuan, 2009).

These are compiled functions over arrays, because a run has dozens of such events for every minibatch of every trainer.
"""

from __future__ import annotations

import numpy as np

from sim.cores import end_job, start_job
from sim.kernel import kernel, part
from sim.network import arrive_at, count, send, share
from sim.state import (
    ACKNOWLEDGED,
    AFTER,
    AFTER_S,
    BEFORE,
    BEFORE_S,
    BEGINNING,
    BEGUN,
    BESIDE,
    BESIDE_S,
    BESIDE_TOOK_S,
    CHANGED,
    DOWN_BYTES,
    ENDED_AT,
    FIRST_DUE,
    FLOWING,
    GRADIENT,
    GRADIENT_BYTES,
    HOPS,
    HOST,
    IDLE,
    INBOX,
    INBOX_END,
    JOINED,
    KIND,
    LAST_DUE,
    LEG,
    NEXT_DONE,
    PENDING,
    POOL_NEXT,
    PREPARE,
    PUT_S_PER_ROW,
    PUTTING,
    REDUCE,
    REDUCING,
    REQUEST,
    RESPONSE,
    ROUND,
    ROUND_S,
    ROUNDS,
    ROWS,
    SERVED,
    SERVER_S,
    SERVER_S_PER_ROW,
    SERVERS,
    SERVING,
    SINCE,
    STAGE,
    STEP,
    STEPS,
    THREADS_PER_TRAINER,
    TRAIN,
    TRAINERS,
    UP_BYTES,
    WAITING,
)  # fmt: skip

NOBODY = -1
"""Whose program `advance` says has ended, where none has."""


@kernel
def advance(now, until, c):  # type: ignore[no-untyped-def]
    """Begin at `now` what is beginning, and let happen all that happens before `until`, up to the first program's end.

    Returns when that was and which thread's program it is, or `until` and `NOBODY`.
    """
    while True:
        while c.clock[BEGUN] < c.clock[BEGINNING]:
            thread = c.beginning[int(c.clock[BEGUN])]
            c.clock[BEGUN] += 1
            if c.threads[thread, STAGE] == IDLE:
                c.threads[thread, STEP] = -1
            else:  # the all-reduce that it waited for is done
                c.threads[thread, STAGE] = AFTER
            if go_on(thread, now, c):
                return now, thread
        c.clock[BEGUN] = c.clock[BEGINNING] = 0
        soonest, pool = np.inf, -1
        for i in range(c.pools.shape[0]):
            if c.pools[i, POOL_NEXT] < soonest:
                soonest, pool = c.pools[i, POOL_NEXT], i
        if c.clock[FIRST_DUE] < c.clock[LAST_DUE] and c.due_at[int(c.clock[FIRST_DUE])] <= soonest:
            soonest, pool = c.due_at[int(c.clock[FIRST_DUE])], -1
        flows_at = np.inf
        if c.clock[FLOWING]:
            flows_at = c.clock[SINCE] if c.clock[CHANGED] else c.clock[NEXT_DONE]
        now = min(soonest, flows_at)
        if now >= until:
            return until, NOBODY
        ended = NOBODY
        if flows_at < soonest:
            share(now, c)
        elif pool >= 0:
            thread = end_job(pool, c)
            if c.threads[thread, STAGE] == SERVING:
                answer(thread, now, c)
            elif go_on(thread, now, c):
                ended = thread
        else:
            c.clock[FIRST_DUE] += 1
            ended = arrived(c.due[int(c.clock[FIRST_DUE]) - 1], now, c)
        if ended != NOBODY:
            return now, ended


@part
def go_on(thread, now, c):  # type: ignore[no-untyped-def]
    """Take a trainer's thread into its next stage, and past those that take no time. Returns whether its program has
    ended."""
    while True:
        stage, step, work_s = c.threads[thread, STAGE], int(c.threads[thread, STEP]), 0.0
        if stage in (IDLE, AFTER):
            if stage == AFTER:
                c.program[thread, step, ENDED_AT] = now
            step += 1
            c.threads[thread, STEP] = step
            if step == c.threads[thread, STEPS]:
                c.threads[thread, STAGE] = IDLE
                return True
            c.threads[thread, STAGE], work_s = BEFORE, c.program[thread, step, BEFORE_S]
        elif stage == BEFORE and c.program[thread, step, KIND] == REDUCE:
            c.threads[thread, STAGE] = WAITING
            join(thread, now, c)
            return False
        elif stage == BEFORE:
            if thread % THREADS_PER_TRAINER == PREPARE:
                ask(thread, now, c)
            c.program[thread, step, BESIDE_TOOK_S] = -now
            c.threads[thread, STAGE], work_s = BESIDE, c.program[thread, step, BESIDE_S]
        else:
            if stage == BESIDE:
                c.program[thread, step, BESIDE_TOOK_S] += now
            message = int(c.threads[thread, INBOX])
            if message >= 0:
                c.threads[thread, INBOX] = c.following[message]
                c.threads[thread, PENDING] -= 1
                c.threads[thread, STAGE] = PUTTING
                work_s = c.messages[message, ROWS] * c.kinds[int(c.program[thread, step, KIND]), PUT_S_PER_ROW]
            elif c.threads[thread, PENDING]:
                c.threads[thread, STAGE] = WAITING
                return False
            else:
                c.threads[thread, STAGE], work_s = AFTER, c.program[thread, step, AFTER_S]
        if work_s > 0.0:
            start_job(thread, work_s, now, c)
            return False


@part
def join(thread, now, c):  # type: ignore[no-untyped-def]
    """A trainer's gradients are ready; the last one's let the all-reduce begin."""
    c.clock[JOINED] += 1
    if c.clock[JOINED] == c.fixed[TRAINERS]:
        c.clock[JOINED], c.clock[ROUND] = 0.0, c.fixed[ROUNDS]
        c.clock[ROUND_S] = c.program[thread, int(c.threads[thread, STEP]), BESIDE_S] / c.fixed[ROUNDS]
        next_round(now, c)


@part
def ask(thread, now, c):  # type: ignore[no-untyped-def]
    """Send a request to every owner of rows."""
    hosts, trainer, step = c.queues.shape[0], thread // THREADS_PER_TRAINER, int(c.threads[thread, STEP])
    size, waits = c.kinds[int(c.program[thread, step, KIND]), UP_BYTES], c.fixed[ACKNOWLEDGED]
    for owner in range(hosts):
        rows = c.rows[trainer, step, owner]
        if rows > 0.0:
            message = trainer * hosts + owner
            c.messages[message, LEG], c.messages[message, ROWS] = REQUEST, rows
            c.threads[thread, PENDING] += 1
            send(message, int(c.threads[thread, HOST]), owner, rows * size, 0.0, 1.0 + waits, waits, now, c)


@part
def arrived(message, now, c):  # type: ignore[no-untyped-def]
    """A message is where it was sent to. Returns whose program thereby ends."""
    hosts, trainers = c.queues.shape[0], int(c.fixed[TRAINERS])
    if c.messages[message, LEG] == GRADIENT:
        c.clock[REDUCING] -= 1
        if c.clock[REDUCING]:
            return NOBODY
        if c.clock[ROUND]:
            next_round(now, c)
            return NOBODY
        for trainer in range(trainers):
            c.beginning[int(c.clock[BEGINNING])] = trainer * THREADS_PER_TRAINER + TRAIN
            c.clock[BEGINNING] += 1
        return NOBODY
    c.following[message] = -1
    if c.messages[message, LEG] == RESPONSE:
        thread = message // hosts * THREADS_PER_TRAINER
        if c.threads[thread, INBOX] < 0:
            c.threads[thread, INBOX] = message
        else:
            c.following[int(c.threads[thread, INBOX_END])] = message
        c.threads[thread, INBOX_END] = message
        return thread if c.threads[thread, STAGE] == WAITING and go_on(thread, now, c) else NOBODY
    owner = message % hosts
    if c.queues[owner, 0] < 0:
        c.queues[owner, 0] = message
    else:
        c.following[c.queues[owner, 1]] = message
    c.queues[owner, 1] = message
    servers = int(c.fixed[SERVERS])
    first = trainers * THREADS_PER_TRAINER + owner * servers
    for server in range(first, first + servers):
        if c.threads[server, STAGE] == IDLE:
            serve_next(server, now, c)
            break
    return NOBODY


@part
def kind_of(message, c):  # type: ignore[no-untyped-def]
    """The kind of the call that a message belongs to."""
    thread = message // c.queues.shape[0] * THREADS_PER_TRAINER
    return int(c.program[thread, int(c.threads[thread, STEP]), KIND])


@part
def serve_next(server, now, c):  # type: ignore[no-untyped-def]
    """Let an idle server take the request that waits longest."""
    host = int(c.threads[server, HOST])
    message = c.queues[host, 0]
    if message < 0:
        return
    c.queues[host, 0] = c.following[message]
    kind = kind_of(message, c)
    work_s = c.kinds[kind, SERVER_S] + c.messages[message, ROWS] * c.kinds[kind, SERVER_S_PER_ROW]
    c.threads[server, STAGE], c.threads[server, SERVED] = SERVING, message
    count(c.links.shape[0] + host, work_s, now, c)
    start_job(server, work_s, now, c)


@part
def answer(server, now, c):  # type: ignore[no-untyped-def]
    """Send the rows that a server has read, and go on with its queue."""
    message, host = int(c.threads[server, SERVED]), int(c.threads[server, HOST])
    asking = int(c.threads[message // c.queues.shape[0] * THREADS_PER_TRAINER, HOST])
    c.messages[message, LEG] = RESPONSE
    size, waits = c.messages[message, ROWS] * c.kinds[kind_of(message, c), DOWN_BYTES], c.fixed[ACKNOWLEDGED]
    c.threads[server, STAGE] = IDLE
    send(message, host, asking, size, 0.0, 1.0 + waits, waits, now, c)
    serve_next(server, now, c)


@part
def next_round(now, c):  # type: ignore[no-untyped-def]
    """Let every trainer pass a part of the gradients on."""
    trainers = int(c.fixed[TRAINERS])
    c.clock[ROUND] -= 1
    c.clock[REDUCING] = trainers
    for trainer in range(trainers):
        message = trainers * c.queues.shape[0] + trainer
        c.messages[message, LEG] = GRADIENT
        source = int(c.threads[trainer * THREADS_PER_TRAINER, HOST])
        target = int(c.threads[(trainer + 1) % trainers * THREADS_PER_TRAINER, HOST])
        if source == target:
            arrive_at(message, now + c.clock[ROUND_S], c)
        else:
            send(message, source, target, c.fixed[GRADIENT_BYTES], c.clock[ROUND_S], c.fixed[HOPS], 0.0, now, c)
