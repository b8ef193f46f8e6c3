"""How a trainer's call goes to every owner, through queues and servers, and how trainers sum up their gradients.

A server takes one request at a time. Work is done on cores (`sim.cores`), messages cross links (`sim.network`). An
all-reduce is a ring: in every round each trainer sends a part of the gradients to the next one (Patarasuk and Yuan,
2009). Compiled, as all that `sim.threads` needs.
"""

from __future__ import annotations

from sim.arrivals import arrive_at
from sim.cores import start_job
from sim.kernel import part
from sim.network import count, send
from sim.state import (
    ACKNOWLEDGED,
    AT,
    BEGINNING,
    BESIDE_S,
    DOWN_BYTES,
    GRADIENT,
    GRADIENT_BYTES,
    HOPS,
    HOST,
    IDLE,
    INBOX,
    INBOX_END,
    JOINED,
    KIND,
    LEG,
    PENDING,
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
    STAGE,
    STEP,
    THREADS_PER_TRAINER,
    TRAIN,
    TRAINERS,
    UP_BYTES,
    WAITING,
)  # fmt: skip


@part
def join(thread, now, c):  # type: ignore[no-untyped-def]
    """A trainer's gradients are ready; the last one's let the all-reduce begin."""
    c.clock[JOINED] += 1
    if c.clock[JOINED] == c.fixed[TRAINERS]:
        c.clock[JOINED], c.clock[ROUND] = 0.0, c.fixed[ROUNDS]
        at, step = int(c.threads[thread, AT]), int(c.threads[thread, STEP])
        c.clock[ROUND_S] = c.programs[thread, at, step, BESIDE_S] / c.fixed[ROUNDS]
        next_round(now, c)


@part
def ask(thread, now, c):  # type: ignore[no-untyped-def]
    """Send a request to every owner of rows."""
    hosts, trainer = c.queues.shape[0], thread // THREADS_PER_TRAINER
    at, step = int(c.threads[thread, AT]), int(c.threads[thread, STEP])
    size, waits = c.kinds[int(c.programs[thread, at, step, KIND]), UP_BYTES], c.fixed[ACKNOWLEDGED]
    for owner in range(hosts):
        rows = c.rows[trainer, at, step, owner]
        if rows > 0.0:
            message = trainer * hosts + owner
            c.messages[message, LEG], c.messages[message, ROWS] = REQUEST, rows
            c.threads[thread, PENDING] += 1
            send(message, int(c.threads[thread, HOST]), owner, rows * size, 0.0, 1.0 + waits, waits, now, c)


@part
def arrived(message, now, c):  # type: ignore[no-untyped-def]
    """A message is where it was sent to. Returns the thread that goes on thereby, or -1."""
    hosts, trainers = c.queues.shape[0], int(c.fixed[TRAINERS])
    if c.messages[message, LEG] == GRADIENT:
        c.clock[REDUCING] -= 1
        if c.clock[REDUCING]:
            return -1
        if c.clock[ROUND]:
            next_round(now, c)
            return -1
        for trainer in range(trainers):
            line_up(BEGINNING, trainer * THREADS_PER_TRAINER + TRAIN, c)
        return -1
    c.following[message] = -1
    if c.messages[message, LEG] == RESPONSE:
        thread = message // hosts * THREADS_PER_TRAINER
        if c.threads[thread, INBOX] < 0:
            c.threads[thread, INBOX] = message
        else:
            c.following[int(c.threads[thread, INBOX_END])] = message
        c.threads[thread, INBOX_END] = message
        return thread if c.threads[thread, STAGE] == WAITING else -1
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
    return -1


@part
def kind_of(message, c):  # type: ignore[no-untyped-def]
    """The kind of the call that a message belongs to."""
    thread = message // c.queues.shape[0] * THREADS_PER_TRAINER
    return int(c.programs[thread, int(c.threads[thread, AT]), int(c.threads[thread, STEP]), KIND])


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
