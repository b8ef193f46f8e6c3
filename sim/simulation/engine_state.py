"""A cluster, a cost model and a run, as the parameters of an engine."""

from __future__ import annotations

import networkx as nx
import numpy as np

from sim.cluster.scenario import Congestion, Scenario, SlowHost
from sim.cluster.topology import Links
from sim.cost.model import EDGE_BYTES, ID_BYTES, SERVED_SHARE, CostModel
from sim.engine.parameters import HOST, LINK, SERVERS, EngineParameters, Period, RpcKind
from traces.errors import InputError
from traces.header import Header

ALLREDUCE_ROUNDS = 6
"""A ring of n trainers has 2 (n - 1) rounds. Larger numbers are simulated as this many longer rounds."""


def engine_parameters(
    graph: nx.DiGraph, routes: Links, cost: CostModel, header: Header, sample_s_per_edge: float, scenario: Scenario
) -> EngineParameters:
    """The parameters of a run. `sample_s_per_edge` is what sampling takes a trainer.

    Raises `InputError` for a scenario that names links or hosts that the cluster does not have.
    """
    hosts, trainers = header.cluster.hosts, header.trainers
    ring = max(2 * (trainers - 1), 1)
    rounds = min(ring, ALLREDUCE_ROUNDS)
    return EngineParameters(
        trainer_host=np.array([header.partition_of(rank) for rank in range(trainers)], np.int64),
        servers_per_host=header.cluster.servers_per_host,
        host_pool=np.array([graph.nodes[host].get("pool", 0) for host in hosts], np.int64),
        pool_cores=np.array(graph.graph.get("cores", [np.inf]), np.float64),
        link_bytes_per_s=routes.bytes_per_s * cost.link_efficiency,
        link_burst_bytes=routes.burst_bytes,
        paths=routes.paths,
        latency_s=routes.latency_s,
        rpc_kinds=_rpc_kinds(cost, header.fetched_row_bytes, sample_s_per_edge),
        window_bytes=graph.graph.get("window_bytes", 0.0),
        nagle_delays=cost.nagle_delays,
        gil_slowdown=cost.gil_slowdown,
        ring_rounds=rounds,
        ring_round_bytes=header.training.gradient_bytes * ring / trainers / rounds,
        rounds_per_modelled_round=ring / rounds,
        tasks_per_epoch=header.minibatches_per_epoch,
        periods=periods(scenario, routes, hosts),
    )


def _rpc_kinds(cost: CostModel, row_bytes: float, sample_s_per_edge: float) -> tuple[RpcKind, RpcKind, RpcKind]:
    """Costs of calls for edges, labels and features, in the order of `sim.engine.tasks`."""
    return (
        RpcKind(ID_BYTES, EDGE_BYTES, cost.server_s, sample_s_per_edge * SERVED_SHARE, 0.0, 0.0),
        RpcKind(ID_BYTES, ID_BYTES, cost.server_s, 0.0, 0.0, 0.0),
        RpcKind(
            request_bytes_per_row=ID_BYTES,
            response_bytes_per_row=row_bytes,
            server_s=cost.server_s,
            server_s_per_row=cost.server_s_per_row,
            send_s_per_row=cost.transfer_s_per_byte * row_bytes,
            scatter_s_per_row=cost.scatter_s_per_row,
        ),
    )


def periods(scenario: Scenario, routes: Links, hosts: tuple[str, ...]) -> tuple[Period, ...]:
    """A scenario's periods. Raises `InputError` for links and hosts that there are not."""
    slow: list[tuple[Congestion | SlowHost, int, int]] = [
        (one, LINK, link) for one in scenario.congestion for link in links_named(one.link, routes)
    ]
    for what, named in ((HOST, scenario.straggler), (SERVERS, scenario.slow_server)):
        for one in named:
            if one.host not in hosts:
                raise InputError(f"the scenario slows host {one.host!r}; there are {', '.join(hosts)}")
            slow.append((one, what, hosts.index(one.host)))
    return tuple(
        Period(one.start_s, one.end_s, one.factor, what, which, one.repeat_s or np.inf) for one, what, which in slow
    )


def links_named(name: str, routes: Links) -> list[int]:
    """The links of a node, or between two (`a-b`), in both directions; all where no name is given."""
    found = [
        number
        for (source, target), number in routes.index.items()
        if not name or name in (source, target, f"{source}-{target}", f"{target}-{source}")
    ]
    if not found:
        ends = sorted({f"{source}-{target}" for source, target in routes.index})
        raise InputError(
            f"the scenario names link {name!r}; there are {', '.join(ends)}, or a host for all of its links"
        )
    return found
