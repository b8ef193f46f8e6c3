"""The parameters of an engine: the cluster, the costs of calls, the all-reduce, and slow periods."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINK, HOST, SERVERS = range(3)
"""What a `Period` slows down: a link, all computation on a host, or the feature servers of a host."""

EDGE_S = 1e-9
"""Within this time of its edge, a period has begun or ended, so that rounding doesn't decide."""


@dataclass(frozen=True, slots=True, eq=False)
class RpcKind:
    """Costs of one kind of call. A request carries `request_bytes_per_row`, its response `response_bytes_per_row`.

    A server works `server_s` a request and `server_s_per_row` a row. A sender thread beside it then works
    `send_s_per_row` to move the rows through a socket. The trainer works `scatter_s_per_row` to put them in place.
    """

    request_bytes_per_row: float
    response_bytes_per_row: float
    server_s: float
    server_s_per_row: float
    send_s_per_row: float
    scatter_s_per_row: float


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """From `start_s` to `end_s`, `what` number `which` works at `factor` of its speed.

    That happens again every `repeat_s`; infinity stands for never.
    """

    start_s: float
    end_s: float
    factor: float
    what: int
    which: int
    repeat_s: float = math.inf

    def holds(self, now: float) -> bool:
        """Whether `now` lies in the period, or in one of its repetitions."""
        since_s = now + EDGE_S - self.start_s
        if since_s >= self.repeat_s:
            since_s -= math.floor(since_s / self.repeat_s) * self.repeat_s
        return 0.0 <= since_s < self.end_s - self.start_s

    def next_edges(self, now: float) -> list[float]:
        """The next begin and end of the period, if any."""
        edges_s = []
        for edge_s in (self.start_s, self.end_s):
            since_s = now + EDGE_S - edge_s
            repeats = since_s >= 0.0 and self.repeat_s < math.inf
            next_s = edge_s + (math.floor(since_s / self.repeat_s) + 1.0) * self.repeat_s if repeats else edge_s
            if next_s > now + EDGE_S:
                edges_s.append(next_s)
        return edges_s


@dataclass(frozen=True, slots=True, eq=False)
class EngineParameters:
    """A cluster and a run on it, in numbers. Hosts, links, trainers and pools of cores are numbered from 0.

    | field | shape | |
    |---|---|---|
    | `trainer_host` | (trainers,) | the host of each trainer |
    | `servers_per_host` | | feature servers of each host |
    | `host_pool` | (hosts,) | the pool whose cores a host computes on |
    | `pool_cores` | (pools,) | cores of each pool |
    | `link_bytes_per_s` | (links,) | payload that each link carries |
    | `link_burst_bytes` | (links,) | bytes that it carries at once after a pause |
    | `paths` | (hosts, hosts, hops) | links from source to target, padded with -1 |
    | `latency_s` | (hosts, hosts) | propagation from source to target |
    | `rpc_kinds` | 3 | costs of SAMPLE, LABEL and FETCH calls (`sim.engine.tasks`) |
    | `window_bytes` | | bytes that a connection may have under way |
    | `nagle_delays` | | how often a short message waits for an acknowledgement |
    | `gil_slowdown` | | how many times as long a job takes while the interpreter's other thread works |
    | `ring_rounds` | | rounds of the all-reduce that are simulated |
    | `ring_round_bytes` | | bytes that a trainer sends in a simulated round |
    | `rounds_per_modelled_round` | | real rounds that a simulated one stands for |
    | `tasks_per_epoch` | | most tasks that a thread is given at once |
    | `periods` | any | when something is slower |
    """

    trainer_host: NDArray[np.int64]
    servers_per_host: int
    host_pool: NDArray[np.int64]
    pool_cores: NDArray[np.float64]
    link_bytes_per_s: NDArray[np.float64]
    link_burst_bytes: NDArray[np.float64]
    paths: NDArray[np.int64]
    latency_s: NDArray[np.float64]
    rpc_kinds: tuple[RpcKind, ...]
    window_bytes: float
    nagle_delays: float
    gil_slowdown: float
    ring_rounds: int
    ring_round_bytes: float
    rounds_per_modelled_round: float
    tasks_per_epoch: int
    periods: tuple[Period, ...] = ()
