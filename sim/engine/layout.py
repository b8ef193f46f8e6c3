"""A simulated cluster as arrays, which the compiled functions share.

`sim.engine.cores` computes, `sim.engine.links` moves bytes, and `sim.engine.rpc` and `sim.engine.allreduce` take
threads and messages from one to the other. The numbers below are the arrays' columns. Times are in seconds, -1 stands
for nothing."""

from __future__ import annotations

from dataclasses import astuple
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.engine.parameters import EngineParameters
from sim.engine.tasks import MOST_STEPS, PREPARE, THREADS_PER_TRAINER, TRAIN

CLOCK = range(8)
FLOWING, SINCE, NEXT_DONE, CHANGED, DUE, SENT, JOINED, ROUND_S = CLOCK
"""Of the whole cluster: how many messages flow, until when they are settled, when one is through next, and whether
(1.0) one has started since links were shared; how many messages are in `due`, and how many ever were; trainers that are
ready for the all-reduce, and what each of its rounds takes a trainer beside its bytes."""

THREAD = range(19)
(
    STAGE, STEP, STEPS, PENDING, POOL, HOST, INBOX, INBOX_END, DONE_AT, SERVED, CORES, SIBLING, AT, PROGRAMS, PERMITS,
    TAKES, GIVES, WAITS, ASLEEP,
) = THREAD  # fmt: skip
"""Of a thread: its stage; at which step of its program it is, and how many those are; responses that are not in place,
parts of gradients that are not added, or what there is to copy, in seconds; its pool and host; first and last of the
responses that wait for it; when its job ends in its pool's virtual time (of one that has to wait for a core first: how
much work it is); the request that a server serves; how many cores it keeps busy; the other thread of the same
interpreter. Then at which of its programs it is, and how many those are; permits that it has; whether it takes one
before each program, when it gives one to its sibling, and whether it waits for one. Last, whether it has slept since
its last job."""

QUEUES = range(4)
GIVEN, ASKING, WOKEN, BEGINNING = QUEUES
"""Queues of threads that go on at this moment: those that were given permits from outside, those that are to begin
their first program, those that need not wait for a permit any more, and those that begin a program."""

IDLE, BEFORE, BESIDE, WAITING, PUTTING, AFTER, SERVING, SENDING = range(8)
"""Stages of a thread. A trainer's go from `BEFORE` to `AFTER`; servers know `IDLE` and `SERVING`, senders `IDLE` and
`SENDING`."""

CALL = range(4)
KIND, BEFORE_S, BESIDE_S, AFTER_S = CALL
"""Of a step of a program: of what kind its call is, work before it, beside it and after it."""

TIMES = range(2 + 2 * MOST_STEPS)
ASKED_AT, BEGAN_AT, ENDED_AT, BESIDE_TOOK_S = 0, 1, 2, 2 + MOST_STEPS
"""Of a program that has run: when it asked for a permit, when it had it and began, when each of its steps ended, and
how long the work beside each of the calls took."""

POOL_COLUMNS = range(6)
POOL_CORES, BUSY, VIRTUAL, POOL_SINCE, POOL_NEXT, JOBS = POOL_COLUMNS
"""Of a pool of cores: how many; how many its jobs would use; its virtual time, and when that was; when a job ends next;
how many jobs it has."""

MESSAGE = range(9)
LEG, LEFT, RATE, ROWS, SOURCE, TARGET, EXTRA_S, FULL, EXPECTED_AT = MESSAGE
"""Of a message: on which leg it is; bytes left and their rate while it flows; its rows, or how many parts of gradients
are to be sent; from and to which host; what it takes after it has flowed; the link that limits its rate while it flows;
from when on its sender knows that it is expected."""

REQUEST, RESPONSE, GRADIENT = range(3)
"""Legs: to the owner, back from it, and what trainers pass on in an all-reduce."""

LINK = range(9)
BYTES_PER_S, BURST_BYTES, TOKENS, USED, STANDING, LINK_SINCE, SPARE, SHARING, CROSSED = LINK
"""Of a link: its rate, and how many bytes it carries at once after a pause; how many of those it may carry now (below
0: a debt), bytes a second that flow, how many flows it limits, and until when this is settled; while links are shared,
what is left of its rate, and among how many flows, and where those that cross it end in `crossing`."""

KIND_COLUMNS = range(6)
UP_BYTES, DOWN_BYTES, SERVER_S, SERVER_S_PER_ROW, SEND_S_PER_ROW, PUT_S_PER_ROW = KIND_COLUMNS
"""Of a kind of call: bytes of request and response a row, a server's work a request and a row, its work on a row's way
through sockets, and a trainer's on a row that came."""

FIXED = range(9)
WINDOW, GRADIENT_BYTES, HOPS, ROUNDS, TRAINERS, SERVERS, ACKNOWLEDGED, TOGETHER, BIN_S = FIXED
"""Of the whole cluster, and never changing: bytes that a connection may have under way; bytes of a round of the
all-reduce, how many real ones it stands for, and how many there are; trainers; servers a host; how often a short
message waits for an acknowledgement; how many times as long a job takes while the sibling works too; the interval of
`used`."""

PERIOD = range(6)
START, END, FACTOR, WHAT, WHICH, REPEAT_S = PERIOD
"""Of a period in which something is slower: from when to when, how fast it then is, which of what, and after how long
that happens again (infinity: never)."""


class EngineState(NamedTuple):
    """Arrays by the columns above, and beside them:

    `programs` (trainers' threads, programs, steps) has what threads do one after another, `rows` (trainers, programs,
    steps, hosts) what a trainer's first thread asks each host for, and `times` (trainers' threads, programs) when
    that was done. `ready` (queues, 2 + threads) are queues in rings, each behind the numbers of those that have come
    and gone. `jobs` (pools, threads) lists threads that compute, those that end first last. A trainer has a message a
    host, by trainer and host, and after all those one for its gradients. `following` is the next message in a queue,
    `flowing` lists those on links, `crossing` for every link those of them that cross it; `due` is a heap of those that
    arrive (and after all messages, by thread, of jobs that begin), at `due_at`, and `due_order` says which of them came
    first; `queues` (hosts, 2) are the first and last
    request at a host's servers. `paths` (hosts, hosts, hops) are links. `used` (intervals, links and hosts) adds up
    bytes carried and seconds served.
    """

    clock: NDArray[np.float64]
    threads: NDArray[np.float64]
    programs: NDArray[np.float64]
    rows: NDArray[np.float64]
    times: NDArray[np.float64]
    pools: NDArray[np.float64]
    messages: NDArray[np.float64]
    links: NDArray[np.float64]
    due_at: NDArray[np.float64]
    ready: NDArray[np.int64]
    jobs: NDArray[np.int64]
    following: NDArray[np.int64]
    flowing: NDArray[np.int64]
    crossing: NDArray[np.int64]
    due: NDArray[np.int64]
    due_order: NDArray[np.int64]
    queues: NDArray[np.int64]
    paths: NDArray[np.int64]
    latency_s: NDArray[np.float64]
    kinds: NDArray[np.float64]
    fixed: NDArray[np.float64]
    periods: NDArray[np.float64]
    used: NDArray[np.float64]


def make_state(parameters: EngineParameters) -> EngineState:
    """Nothing under way, all links rested.

    Threads of trainer r are 3 r to 3 r + 2; after all trainers come the servers, host by host, and then those that
    send from a host to a trainer, by trainer and host.
    """
    trainers, hosts = len(parameters.trainer_host), len(parameters.host_pool)
    of_trainers = np.repeat(parameters.trainer_host, THREADS_PER_TRAINER)
    of_servers = np.repeat(np.arange(hosts), parameters.servers_per_host)
    of_senders = np.tile(np.arange(hosts), trainers)
    host = np.concatenate([of_trainers, of_servers, of_senders])
    count, messages, pools = len(host), trainers * (hosts + 1), len(parameters.pool_cores)
    threads = np.zeros((count, len(THREAD)))
    threads[:, [INBOX, INBOX_END, SERVED, SIBLING]] = -1
    threads[:, CORES] = 1.0
    threads[len(of_trainers) : len(of_trainers) + len(of_servers), ASLEEP] = 1.0
    threads[:, HOST], threads[:, POOL] = host, parameters.host_pool[host]
    first = np.arange(trainers) * THREADS_PER_TRAINER
    threads[first + PREPARE, SIBLING] = first + TRAIN
    threads[first + TRAIN, SIBLING] = first + PREPARE

    programs = trainers * THREADS_PER_TRAINER, parameters.tasks_per_epoch
    state_of_pools = np.zeros((pools, len(POOL_COLUMNS)))
    state_of_pools[:, POOL_CORES], state_of_pools[:, POOL_NEXT] = parameters.pool_cores, np.inf
    links = np.zeros((len(parameters.link_bytes_per_s), len(LINK)))
    links[:, BYTES_PER_S] = parameters.link_bytes_per_s
    links[:, BURST_BYTES] = links[:, TOKENS] = parameters.link_burst_bytes
    fixed = (
        parameters.window_bytes, parameters.ring_round_bytes, parameters.rounds_per_modelled_round,
        parameters.ring_rounds, trainers, parameters.servers_per_host, parameters.nagle_delays,
        parameters.gil_slowdown, 1.0,
    )  # fmt: skip
    periods = [(p.start_s, p.end_s, p.factor, p.what, p.which, p.repeat_s) for p in parameters.periods]
    return EngineState(
        clock=np.zeros(len(CLOCK)),
        threads=threads,
        programs=np.zeros((*programs, MOST_STEPS, len(CALL))),
        rows=np.zeros((trainers, parameters.tasks_per_epoch, MOST_STEPS, hosts)),
        times=np.zeros((*programs, len(TIMES))),
        pools=state_of_pools,
        messages=np.zeros((messages, len(MESSAGE))),
        links=links,
        due_at=np.zeros(messages + count),
        ready=np.zeros((len(QUEUES), 2 + count), np.int64),
        jobs=np.zeros((pools, count), np.int64),
        following=np.full(messages, -1, np.int64),
        flowing=np.zeros(messages, np.int64),
        crossing=np.zeros(messages * parameters.paths.shape[2], np.int64),
        due=np.zeros(messages + count, np.int64),
        due_order=np.zeros(messages + count, np.int64),
        queues=np.full((hosts, 2), -1, np.int64),
        paths=parameters.paths,
        latency_s=parameters.latency_s,
        kinds=np.array([astuple(kind) for kind in parameters.rpc_kinds], np.float64),
        fixed=np.array(fixed, np.float64),
        periods=np.array(periods, np.float64).reshape(-1, len(PERIOD)),
        used=np.zeros((0, len(links) + hosts)),
    )
