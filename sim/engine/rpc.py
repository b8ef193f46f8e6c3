"""How a trainer's call goes to every owner, through queues and servers.

A server takes one request at a time. Work is done on cores (`sim.engine.cores`), messages cross links
(`sim.engine.links`). Compiled, as all that `sim.engine.threads` needs.
"""

from __future__ import annotations

from sim.compiled import part
from sim.engine.allreduce import add
from sim.engine.cores import start_job
from sim.engine.layout import (
    ACKNOWLEDGED,
    ASLEEP,
    AT,
    DOWN_BYTES,
    GRADIENT,
    HOST,
    IDLE,
    INBOX,
    INBOX_END,
    KIND,
    LEG,
    PENDING,
    REQUEST,
    RESPONSE,
    ROWS,
    SEND_S_PER_ROW,
    SENDING,
    SERVED,
    SERVER_S,
    SERVER_S_PER_ROW,
    SERVERS,
    SERVING,
    STAGE,
    STEP,
    TRAINERS,
    UP_BYTES,
    WAITING,
)
from sim.engine.links import count, send
from sim.engine.tasks import THREADS_PER_TRAINER


@part
def ask(thread, now, c):  # type: ignore[no-untyped-def]
    """Send a request to every owner of rows."""
    hosts, trainer = c.queues.shape[0], thread // THREADS_PER_TRAINER
    at, step = int(c.threads[thread, AT]), int(c.threads[thread, STEP])
    size = c.kinds[int(c.programs[thread, at, step, KIND]), UP_BYTES]
    for owner in range(hosts):
        rows = c.rows[trainer, at, step, owner]
        if rows > 0.0:
            message = trainer * hosts + owner
            c.messages[message, LEG], c.messages[message, ROWS] = REQUEST, rows
            c.threads[thread, PENDING] += 1
            source, held = int(c.threads[thread, HOST]), c.fixed[ACKNOWLEDGED]
            send(message, source, owner, rows * size, 0.0, 0.0, 1.0, held, now, c)


@part
def arrived(message, now, c):  # type: ignore[no-untyped-def]
    """A message is where it was sent to. Returns the thread that goes on thereby, or -1."""
    hosts, trainers = c.queues.shape[0], int(c.fixed[TRAINERS])
    if c.messages[message, LEG] == GRADIENT:
        return add(message, now, c)
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
        c.threads[server, ASLEEP] = 1.0
        return
    c.queues[host, 0] = c.following[message]
    kind = kind_of(message, c)
    work_s = c.kinds[kind, SERVER_S] + c.messages[message, ROWS] * c.kinds[kind, SERVER_S_PER_ROW]
    c.threads[server, STAGE], c.threads[server, SERVED] = SERVING, message
    count(c.links.shape[0] + host, work_s, now, c)
    start_job(server, work_s, now, c)


@part
def answer(server, now, c):  # type: ignore[no-untyped-def]
    """Send the rows that a server has read, and let it go on with its queue.

    While they cross links, a thread of that connection, as DGL has one for each, copies them into the socket.
    """
    message, host = int(c.threads[server, SERVED]), int(c.threads[server, HOST])
    asking = int(c.threads[message // c.queues.shape[0] * THREADS_PER_TRAINER, HOST])
    kind, rows = kind_of(message, c), c.messages[message, ROWS]
    sending_s, held = rows * c.kinds[kind, SEND_S_PER_ROW], c.fixed[ACKNOWLEDGED]
    c.messages[message, LEG] = RESPONSE
    send(message, host, asking, rows * c.kinds[kind, DOWN_BYTES], sending_s, 0.0, 1.0, held, now, c)
    if sending_s > 0.0:
        sender = c.threads.shape[0] - int(c.fixed[TRAINERS]) * c.queues.shape[0] + message
        c.threads[sender, PENDING] += sending_s
        if c.threads[sender, STAGE] == IDLE:
            copy(sender, now, c)
    c.threads[server, STAGE] = IDLE
    serve_next(server, now, c)


@part
def copy(sender, now, c):  # type: ignore[no-untyped-def]
    """Let a thread copy into its socket what there is to copy."""
    sending_s = c.threads[sender, PENDING]
    c.threads[sender, PENDING] = 0.0
    c.threads[sender, STAGE] = SENDING if sending_s > 0.0 else IDLE
    if sending_s > 0.0:
        start_job(sender, sending_s, now, c)
