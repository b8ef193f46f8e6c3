"""Remote procedure calls: a trainer's requests go to every owner of rows, through queues and servers, and back.

A server takes one request at a time. Work is done on cores (`sim.engine.cores`), messages cross links
(`sim.engine.links`).
"""

from __future__ import annotations

from sim.compiled import part
from sim.engine.layout import IDLE, REQUEST, RESPONSE, SENDING, SERVING, WAITING
from sim.engine.links import post, record_use
from sim.engine.tasks import PREPARE, THREADS_PER_TRAINER


@part
def send_requests(trainer, rpc, threads, links):  # type: ignore[no-untyped-def]
    """Send a request to every owner of rows."""
    hosts, thread = rpc.requests.shape[0], threads.threads[trainer * THREADS_PER_TRAINER + PREPARE]
    kind = kind_of(trainer, rpc, threads)
    for owner in range(hosts):
        rows = threads.rows[trainer, thread.task, thread.step, owner]
        if rows > 0.0:
            message = trainer * hosts + owner
            rpc.messages[message].direction, rpc.messages[message].rows = REQUEST, rows
            rpc.awaited[trainer] += 1
            size = rows * kind.request_bytes_per_row
            post(message, thread.host, owner, size, 0.0, 0.0, 1.0, rpc.nagle_delays, links)


@part
def kind_of(trainer, rpc, threads):  # type: ignore[no-untyped-def]
    """The kind of the call that a trainer is in."""
    number = trainer * THREADS_PER_TRAINER + PREPARE
    thread = threads.threads[number]
    return rpc.kinds[threads.tasks[number, thread.task, thread.step].kind]


@part
def on_arrival(message, rpc, threads):  # type: ignore[no-untyped-def]
    """A request arrives at its host, or a response at its trainer. Returns the thread that continues, or -1."""
    hosts = rpc.requests.shape[0]
    if rpc.messages[message].direction == RESPONSE:
        trainer = message // hosts
        append(message, rpc.inboxes[trainer], rpc.messages)
        number = trainer * THREADS_PER_TRAINER + PREPARE
        return number if threads.threads[number].stage == WAITING else -1
    owner = message % hosts
    append(message, rpc.requests[owner], rpc.messages)
    first = rpc.first_server + owner * rpc.servers_per_host
    for server in range(first, first + rpc.servers_per_host):
        if threads.threads[server].stage == IDLE:
            return server
    return -1


@part
def append(message, queue, messages):  # type: ignore[no-untyped-def]
    """Put a message at the end of a queue."""
    messages[message].next = -1
    if queue.first < 0:
        queue.first = message
    else:
        messages[queue.last].next = message
    queue.last = message


@part
def start_service(number, now, rpc, threads):  # type: ignore[no-untyped-def]
    """Let an idle server take the request that waits longest, if there is one. Returns its demand."""
    server = threads.threads[number]
    queue = rpc.requests[server.host]
    request = queue.first
    if request < 0:
        server.asleep = True
        return 0.0
    queue.first = rpc.messages[request].next
    kind = kind_of(request // rpc.requests.shape[0], rpc, threads)
    demand_s = kind.server_s + rpc.messages[request].rows * kind.server_s_per_row
    server.stage, rpc.serving[number - rpc.first_server] = SERVING, request
    record_use(server.host, demand_s, now, rpc.use)
    return demand_s


@part
def send_response(number, rpc, threads, links):  # type: ignore[no-untyped-def]
    """Send the rows that a server has read. Returns the sender of that connection if it is idle, or -1.

    While the rows cross links, a thread of the connection, as DGL has one for each, copies them into the socket.
    """
    server = threads.threads[number]
    message = rpc.serving[number - rpc.first_server]
    trainer = message // rpc.requests.shape[0]
    target, rows = threads.threads[trainer * THREADS_PER_TRAINER].host, rpc.messages[message].rows
    kind = kind_of(trainer, rpc, threads)
    send_s, size = rows * kind.send_s_per_row, rows * kind.response_bytes_per_row
    rpc.messages[message].direction = RESPONSE
    post(message, server.host, target, size, send_s, 0.0, 1.0, rpc.nagle_delays, links)
    rpc.unsent_s[message] += send_s
    server.stage = IDLE
    sender = rpc.first_sender + message
    return sender if threads.threads[sender].stage == IDLE else -1


@part
def copy_rows(number, rpc, threads):  # type: ignore[no-untyped-def]
    """Let a sender copy into its socket what there is to copy. Returns the work of that."""
    sender, message = threads.threads[number], number - rpc.first_sender
    send_s = rpc.unsent_s[message]
    rpc.unsent_s[message] = 0.0
    sender.stage = SENDING if send_s > 0.0 else IDLE
    return send_s
