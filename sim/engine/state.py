"""The state of the compiled engine at the beginning: nothing under way, all links rested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sim.compiled import COMPILES
from sim.engine import layout
from sim.engine.layout import Cores, EngineState, EventHeap, Links, Ring, Rpc, Threads, Use
from sim.engine.parameters import EngineParameters, Period, RpcKind
from sim.engine.tasks import MOST_STEPS, PREPARE, STEP, TASK_TIMES, THREADS_PER_TRAINER, TRAIN


def make_state(parameters: EngineParameters) -> EngineState:
    """The state of a cluster on which nothing has happened yet."""
    trainers, hosts = len(parameters.trainer_host), len(parameters.host_pool)
    threads = make_threads(parameters)
    periods, messages = make_periods(parameters.periods), trainers * (hosts + 1)
    return EngineState(
        threads=threads,
        events=make_event_heap(messages + len(threads.threads)),
        cores=make_cores(parameters, len(threads.threads), periods),
        links=make_links(
            parameters.link_bytes_per_s,
            parameters.link_burst_bytes,
            parameters.paths,
            parameters.latency_s,
            parameters.window_bytes,
            messages,
            periods,
        ),
        rpc=make_rpc(parameters),
        ring=make_ring(parameters),
    )


def records(shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[np.void]:
    """Records of zeros. Plain Python knows fields as attributes of record arrays only."""
    made = np.zeros(shape, dtype)
    return made if COMPILES else made.view(np.recarray)


def make_threads(parameters: EngineParameters) -> Threads:
    """Idle threads without tasks."""
    trainers, hosts = len(parameters.trainer_host), len(parameters.host_pool)
    host = np.concatenate(
        [
            np.repeat(parameters.trainer_host, THREADS_PER_TRAINER),
            np.repeat(np.arange(hosts), parameters.servers_per_host),
            np.tile(np.arange(hosts), trainers),
        ]
    )
    of_trainers, servers = trainers * THREADS_PER_TRAINER, hosts * parameters.servers_per_host
    threads = records(len(host), layout.THREAD)
    threads["host"], threads["pool"] = host, parameters.host_pool[host]
    threads["cores"] = 1.0
    threads["asleep"][of_trainers : of_trainers + servers] = True
    threads["gil_peer"] = -1
    first = np.arange(trainers) * THREADS_PER_TRAINER
    threads["gil_peer"][first + PREPARE], threads["gil_peer"][first + TRAIN] = first + TRAIN, first + PREPARE
    return Threads(
        threads=threads,
        tasks=records((of_trainers, parameters.tasks_per_epoch, MOST_STEPS), STEP),
        rows=np.zeros((trainers, parameters.tasks_per_epoch, MOST_STEPS, hosts)),
        times=records((of_trainers, parameters.tasks_per_epoch), TASK_TIMES),
        queues=records(len(layout.QUEUES), layout.QUEUE),
        waiting=np.zeros((len(layout.QUEUES), len(host)), np.int64),
        queued=np.zeros(1, np.int64),
    )


def make_event_heap(most: int) -> EventHeap:
    """No events, of which there will be no more than `most` at a time."""
    return EventHeap(events=records(most, layout.EVENT), heap=records(1, layout.HEAP))


def make_periods(periods: Sequence[Period]) -> NDArray[np.void]:
    """Periods as records."""
    made = records(len(periods), layout.PERIOD)
    for number, period in enumerate(periods):
        made[number] = astuple(period)
    return made


def make_cores(parameters: EngineParameters, threads: int, periods: NDArray[np.void]) -> Cores:
    """Pools of cores without jobs."""
    pools = records(len(parameters.pool_cores), layout.POOL)
    pools["cores"], pools["next_end_s"] = parameters.pool_cores, np.inf
    return Cores(pools, np.zeros((len(pools), threads), np.int64), float(parameters.gil_slowdown), periods)


def make_links(
    bytes_per_s: NDArray[np.float64],
    burst_bytes: NDArray[np.float64],
    paths: NDArray[np.int64],
    latency_s: NDArray[np.float64],
    window_bytes: float,
    messages: int,
    periods: NDArray[np.void],
) -> Links:
    """Links without flows, on which there will be no more than `messages`."""
    links = records(len(bytes_per_s), layout.LINK)
    links["bytes_per_s"] = bytes_per_s
    links["burst_bytes"] = links["bucket_bytes"] = burst_bytes
    return Links(
        links=links,
        flows=records(messages, layout.FLOW),
        traffic=records(1, layout.TRAFFIC),
        posted=np.zeros(messages, np.int64),
        active=np.zeros(messages, np.int64),
        by_link=np.zeros(messages * paths.shape[2], np.int64),
        paths=paths,
        latency_s=latency_s,
        window_bytes=float(window_bytes),
        periods=periods,
        use=Use(np.zeros((0, len(links))), 1.0),
    )


def make_rpc(parameters: EngineParameters) -> Rpc:
    """Idle servers without requests."""
    trainers, hosts = len(parameters.trainer_host), len(parameters.host_pool)
    first_server, servers = trainers * THREADS_PER_TRAINER, hosts * parameters.servers_per_host
    kinds, messages = records(len(parameters.rpc_kinds), layout.RPC_KIND), records(trainers * hosts, layout.MESSAGE)
    for field in fields(RpcKind):
        kinds[field.name] = [getattr(kind, field.name) for kind in parameters.rpc_kinds]
    requests, inboxes = records(hosts, layout.MESSAGES), records(trainers, layout.MESSAGES)
    messages["next"] = requests["first"] = requests["last"] = inboxes["first"] = inboxes["last"] = -1
    return Rpc(
        kinds=kinds,
        messages=messages,
        requests=requests,
        inboxes=inboxes,
        awaited=np.zeros(trainers, np.int64),
        serving=np.full(servers, -1, np.int64),
        unsent_s=np.zeros(trainers * hosts),
        first_server=first_server,
        servers_per_host=parameters.servers_per_host,
        first_sender=first_server + servers,
        nagle_delays=float(parameters.nagle_delays),
        use=Use(np.zeros((0, hosts)), 1.0),
    )


def make_ring(parameters: EngineParameters) -> Ring:
    """A ring of trainers of whom nobody is ready."""
    trainers, hosts = len(parameters.trainer_host), len(parameters.host_pool)
    parts = records(trainers, layout.PART)
    parts["host"] = parameters.trainer_host
    return Ring(
        parts=parts,
        round=records(1, layout.ROUND),
        rounds=int(parameters.ring_rounds),
        round_bytes=float(parameters.ring_round_bytes),
        rounds_per_modelled_round=float(parameters.rounds_per_modelled_round),
        first_message=trainers * hosts,
    )
