"""The state of the compiled engine: structured arrays, in one named tuple for each mechanism.

Times are in seconds. An instant is simulated time; -1 stands for no thread, message or link. Rows of `threads` are
numbered like this: trainer r has 3 r to 3 r + 2 (`sim.engine.tasks`), then come the servers, host by host, and then the
senders, one a message of `Rpc`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

INT, FLOAT, BOOL = np.int64, np.float64, np.bool_

IDLE, BEFORE, OVERLAPPED, WAITING, SCATTERING, AFTER, SERVING, SENDING = range(8)
"""Stages of a thread. A trainer's go from `BEFORE` to `AFTER`. Servers know `IDLE` and `SERVING`, senders `IDLE` and
`SENDING`."""

THREAD = np.dtype(
    [
        ("stage", INT),
        ("host", INT),
        ("pool", INT),  # of cores
        ("gil_peer", INT),  # the other thread of the same interpreter
        ("cores", FLOAT),  # that it keeps busy while it works
        ("asleep", BOOL),  # whether it has slept since its last job
        ("demand_s", FLOAT),  # work of the job that waits for a core
        ("virtual_end_s", FLOAT),  # when its job ends, in its pool's virtual time
        ("task", INT),  # which of its tasks it does, from 0
        ("tasks", INT),  # how many it was given
        ("step", INT),  # which step of the task
        ("steps", INT),  # of each task
        ("needs_token", BOOL),  # whether a task takes a token to begin
        ("releases", INT),  # when it gives its peer a token (`sim.engine.tasks`)
        ("tokens", INT),  # that it has
        ("blocked", BOOL),  # whether it waits for a token
    ],
    align=True,
)

QUEUES = range(4)
GIVEN, STARTED, UNBLOCKED, BEGINNING = QUEUES
"""Queues of threads that continue at this instant: threads that got tokens from outside; threads that got tasks;
threads that were blocked and now have a token; and threads that begin a task."""

QUEUE = np.dtype([("first", INT), ("threads", INT)])
"""Where the first thread of a queue is in `waiting`, and how many there are."""


class Threads(NamedTuple):
    """`waiting` is a ring buffer for each queue. `rows` are what a task's calls ask each host for."""

    threads: NDArray[np.void]  # (threads,) of THREAD
    tasks: NDArray[np.void]  # (trainers' threads, tasks, steps) of STEP
    rows: NDArray[np.float64]  # (trainers, tasks, steps, hosts)
    times: NDArray[np.void]  # (trainers' threads, tasks) of TASK_TIMES
    queues: NDArray[np.void]  # (queues,) of QUEUE
    waiting: NDArray[np.int64]  # (queues, threads)
    queued: NDArray[np.int64]  # (1,): how many are in all queues


EVENT = np.dtype(
    [
        ("at_s", FLOAT),
        ("order", INT),  # how many events had been scheduled before
        ("number", INT),  # the message that arrives; or after all messages, the thread whose time slice has come
    ],
    align=True,
)

HEAP = np.dtype([("events", INT), ("scheduled", INT)])
"""How many events are in the heap, and how many ever were."""


class EventHeap(NamedTuple):
    """A binary heap of events in the future."""

    events: NDArray[np.void]  # (messages + threads,) of EVENT
    heap: NDArray[np.void]  # (1,) of HEAP


PERIOD = np.dtype(
    [("start_s", FLOAT), ("end_s", FLOAT), ("factor", FLOAT), ("what", INT), ("which", INT), ("repeat_s", FLOAT)],
    align=True,
)
"""As `sim.engine.parameters.Period`."""

POOL = np.dtype(
    [
        ("cores", FLOAT),
        ("busy_cores", FLOAT),  # that its jobs would keep busy
        ("virtual_s", FLOAT),  # its virtual time at `settled_s`
        ("settled_s", FLOAT),
        ("next_end_s", FLOAT),  # when a job ends next
        ("jobs", INT),  # how many it has
    ],
    align=True,
)


class Cores(NamedTuple):
    """`jobs` are the threads that compute, those whose jobs end first last."""

    pools: NDArray[np.void]  # (pools,) of POOL
    jobs: NDArray[np.int64]  # (pools, threads)
    gil_slowdown: float
    periods: NDArray[np.void]  # (periods,) of PERIOD


class Use(NamedTuple):
    """What was used in intervals of `bin_s`; what comes later is in the last one. No bins: nothing is recorded."""

    used: NDArray[np.float64]  # (bins, links or hosts)
    bin_s: float


LINK = np.dtype(
    [
        ("bytes_per_s", FLOAT),
        ("burst_bytes", FLOAT),  # that it carries at once after a pause
        ("bucket_bytes", FLOAT),  # of those, what it may carry at once at `settled_s`; below 0: a debt
        ("used_bytes_per_s", FLOAT),  # that flow over it
        ("settled_s", FLOAT),
        ("bottlenecked_flows", INT),  # flows whose rate it limits
        ("residual_bytes_per_s", FLOAT),  # while links are shared: what is left of its rate
        ("active_flows", INT),  # while links are shared: flows that cross it and have no rate yet
        ("flows_end", INT),  # where those that cross it end in `by_link`
    ],
    align=True,
)

FLOW = np.dtype(
    [
        ("source", INT),  # host
        ("target", INT),
        ("left_bytes", FLOAT),  # at `TRAFFIC.settled_s`
        ("bytes_per_s", FLOAT),
        ("bottleneck", INT),  # the link that limits its rate
        ("min_s", FLOAT),  # the least that transmission takes
        ("min_end_s", FLOAT),  # of a flow: the instant before which its transmission doesn't end
        ("extra_s", FLOAT),  # from its last byte on the links until it arrives
        ("rounds", FLOAT),  # messages one after another that it stands for
        ("nagle_delays", FLOAT),  # how often its end waits for an acknowledgement if it is short
    ],
    align=True,
)
"""A message on its way."""

TRAFFIC = np.dtype(
    [
        ("posted", INT),  # messages that are to be sent at this instant
        ("flows", INT),  # active flows
        ("settled_s", FLOAT),
        ("next_change_s", FLOAT),  # when a flow is done, or a link's rate changes
        ("stale", BOOL),  # whether a flow has started since links were shared
    ],
    align=True,
)
"""Of all links together."""


class Links(NamedTuple):
    """Flows have the numbers of their messages. `posted` lists those that are to be sent at this instant; `active`
    those that are on links, in the order in which they started; `by_link`, link by link, those that cross it."""

    links: NDArray[np.void]  # (links,) of LINK
    flows: NDArray[np.void]  # (messages,) of FLOW
    traffic: NDArray[np.void]  # (1,) of TRAFFIC
    posted: NDArray[np.int64]  # (messages,)
    active: NDArray[np.int64]  # (messages,)
    by_link: NDArray[np.int64]  # (messages * hops,)
    paths: NDArray[np.int64]  # (hosts, hosts, hops)
    latency_s: NDArray[np.float64]  # (hosts, hosts)
    window_bytes: float
    periods: NDArray[np.void]  # (periods,) of PERIOD
    use: Use  # bytes carried, by link


REQUEST, RESPONSE = range(2)
"""Directions of a message: to the owner of rows, and back from it."""

MESSAGE = np.dtype(
    [
        ("direction", INT),
        ("rows", FLOAT),
        ("next", INT),  # the message behind it in a queue
    ],
    align=True,
)

MESSAGES = np.dtype([("first", INT), ("last", INT)])
"""A queue of messages."""

RPC_KIND = np.dtype(
    [
        ("request_bytes_per_row", FLOAT),
        ("response_bytes_per_row", FLOAT),
        ("server_s", FLOAT),
        ("server_s_per_row", FLOAT),
        ("send_s_per_row", FLOAT),
        ("scatter_s_per_row", FLOAT),
    ],
    align=True,
)
"""As `sim.engine.parameters.RpcKind`."""


class Rpc(NamedTuple):
    """Message r * hosts + h is between trainer r and host h. Its sender is the thread `first_sender` and that."""

    kinds: NDArray[np.void]  # (3,) of RPC_KIND
    messages: NDArray[np.void]  # (trainers * hosts,) of MESSAGE
    requests: NDArray[np.void]  # (hosts,) of MESSAGES: that wait for a server
    inboxes: NDArray[np.void]  # (trainers,) of MESSAGES: responses that wait to be put in place
    awaited: NDArray[np.int64]  # (trainers,): responses that are not in place
    serving: NDArray[np.int64]  # (servers,): the request that each server works on
    unsent_s: NDArray[np.float64]  # (trainers * hosts,): work of copying rows into sockets that no sender has begun
    first_server: int
    servers_per_host: int
    first_sender: int
    nagle_delays: float
    use: Use  # seconds served, by host


PART = np.dtype(
    [
        ("host", INT),
        ("to_send", INT),  # parts of gradients that a trainer is still to send
        ("to_add", INT),  # and those that are still to come and be added
        ("expected_s", FLOAT),  # when it learns that the next trainer is ready for its next part
    ],
    align=True,
)

ROUND = np.dtype([("joined", INT), ("add_s", FLOAT)])
"""How many trainers are ready for the all-reduce, and what each of its rounds takes a trainer beside its bytes."""


class Ring(NamedTuple):
    """The message in which trainer r passes gradients on is `first_message` and r."""

    parts: NDArray[np.void]  # (trainers,) of PART
    round: NDArray[np.void]  # (1,) of ROUND
    rounds: int
    round_bytes: float
    rounds_per_modelled_round: float
    first_message: int


class EngineState(NamedTuple):
    """All that the compiled functions share."""

    threads: Threads
    events: EventHeap
    cores: Cores
    links: Links
    rpc: Rpc
    ring: Ring
