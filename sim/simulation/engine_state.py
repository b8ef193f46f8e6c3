"""A cluster, a cost model and a run, as the arrays in which time passes."""

from __future__ import annotations

import networkx as nx
import numpy as np

from sim.cluster.scenario import Scenario
from sim.cluster.topology import Links
from sim.cost.model import EDGE_BYTES, ID_BYTES, SERVED_SHARE, CostModel
from sim.engine import layout as at
from sim.engine.layout import State
from traces.errors import InputError
from traces.header import Header

ALLREDUCE_ROUNDS = 6
"""A ring of n trainers has 2 (n - 1) rounds; more than this many are simulated as so many longer ones."""


def make_state(
    graph: nx.DiGraph, routes: Links, cost: CostModel, header: Header, sample_s_per_edge: float, periods: np.ndarray
) -> State:
    """Nothing under way, all links rested. `sample_s_per_edge` is what sampling takes a trainer; `periods` has the
    columns of `sim.engine.layout`."""
    hosts, trainers, servers = header.cluster.hosts, header.trainers, header.cluster.servers_per_host
    pools, cores = [graph.nodes[host].get("pool", 0) for host in hosts], graph.graph.get("cores", [np.inf])

    of_trainers = [header.partition_of(rank) for rank in range(trainers) for _ in range(at.THREADS_PER_TRAINER)]
    of_hosts = [host for host in range(len(hosts)) for _ in range(servers)]
    of_senders = [host for _ in range(trainers) for host in range(len(hosts))]
    count, messages = len(of_trainers + of_hosts + of_senders), trainers * (len(hosts) + 1)
    threads = np.zeros((count, len(at.THREAD)))
    threads[:, [at.INBOX, at.INBOX_END, at.SERVED, at.SIBLING]] = -1
    threads[:, at.CORES] = 1.0
    threads[len(of_trainers) : len(of_trainers + of_hosts), at.ASLEEP] = 1.0
    threads[:, at.HOST] = of_trainers + of_hosts + of_senders
    threads[:, at.POOL] = [pools[int(host)] for host in threads[:, at.HOST]]
    first = np.arange(trainers) * at.THREADS_PER_TRAINER
    threads[first + at.PREPARE, at.SIBLING] = first + at.TRAIN
    threads[first + at.TRAIN, at.SIBLING] = first + at.PREPARE

    programs = trainers * at.THREADS_PER_TRAINER, header.minibatches_per_epoch
    state_of_pools = np.zeros((len(cores), len(at.POOL_COLUMNS)))
    state_of_pools[:, at.POOL_CORES], state_of_pools[:, at.POOL_NEXT] = cores, np.inf
    links = np.zeros((len(routes.bytes_per_s), len(at.LINK)))
    links[:, at.BYTES_PER_S] = routes.bytes_per_s * cost.link_efficiency
    links[:, at.BURST_BYTES] = links[:, at.TOKENS] = routes.burst_bytes
    return State(
        clock=np.zeros(len(at.CLOCK)),
        threads=threads,
        programs=np.zeros((*programs, at.MOST_STEPS, len(at.CALL))),
        rows=np.zeros((trainers, header.minibatches_per_epoch, at.MOST_STEPS, len(hosts))),
        times=np.zeros((*programs, len(at.TIMES))),
        pools=state_of_pools,
        messages=np.zeros((messages, len(at.MESSAGE))),
        links=links,
        due_at=np.zeros(messages + count),
        ready=np.zeros((len(at.QUEUES), 2 + count), np.int64),
        jobs=np.zeros((len(cores), count), np.int64),
        following=np.full(messages, -1, np.int64),
        flowing=np.zeros(messages, np.int64),
        crossing=np.zeros(messages * routes.paths.shape[2], np.int64),
        due=np.zeros(messages + count, np.int64),
        due_order=np.zeros(messages + count, np.int64),
        queues=np.full((len(hosts), 2), -1, np.int64),
        paths=routes.paths,
        latency_s=routes.latency_s,
        kinds=_kinds(cost, header, sample_s_per_edge),
        fixed=_fixed(graph, cost, header),
        periods=periods,
        used=np.zeros((0, len(links) + len(hosts))),
    )


def _kinds(cost: CostModel, header: Header, sample_s_per_edge: float) -> np.ndarray:
    row_bytes = header.graph.feature_bytes
    sending_s = cost.transfer_s_per_byte * row_bytes
    kinds = np.zeros((3, len(at.KIND_COLUMNS)))
    kinds[at.SAMPLE] = ID_BYTES, EDGE_BYTES, cost.server_s, sample_s_per_edge * SERVED_SHARE, 0.0, 0.0
    kinds[at.LABEL] = ID_BYTES, ID_BYTES, cost.server_s, 0.0, 0.0, 0.0
    kinds[at.FETCH] = ID_BYTES, row_bytes, cost.server_s, cost.server_s_per_row, sending_s, cost.scatter_s_per_row
    return kinds


def _fixed(graph: nx.DiGraph, cost: CostModel, header: Header) -> np.ndarray:
    trainers = header.trainers
    ring = max(2 * (trainers - 1), 1)
    rounds = min(ring, ALLREDUCE_ROUNDS)
    fixed = np.zeros(len(at.FIXED))
    fixed[at.WINDOW] = graph.graph.get("window_bytes", 0.0)
    fixed[at.GRADIENT_BYTES] = header.training.gradient_bytes * ring / trainers / rounds
    fixed[at.HOPS], fixed[at.ROUNDS] = ring / rounds, rounds
    fixed[at.TRAINERS], fixed[at.SERVERS] = trainers, header.cluster.servers_per_host
    fixed[at.ACKNOWLEDGED], fixed[at.TOGETHER], fixed[at.BIN_S] = cost.nagle_delays, cost.gil_slowdown, 1.0
    return fixed


def record_use(state: State, bins: int, bin_s: float) -> State:
    """The same, recording how busy links and servers are in `bins` intervals of `bin_s`; what comes later adds up in
    the last one."""
    state.fixed[at.BIN_S] = bin_s
    return state._replace(used=np.zeros((bins, len(state.links) + len(state.queues))))


def shares_used(state: State, bin_s: float) -> np.ndarray:
    """What was recorded, over what links and servers could have done."""
    could = np.concatenate([state.links[:, at.BYTES_PER_S], np.full(len(state.queues), state.fixed[at.SERVERS])])
    return state.used / (could * bin_s)


def periods(scenario: Scenario, routes: Links, hosts: tuple[str, ...]) -> np.ndarray:
    """A scenario as rows of `sim.engine.layout.PERIOD`. Raises `InputError` for links and hosts that there are not."""
    rows: list[tuple[float, ...]] = []
    for congestion in scenario.congestion:
        rows.extend(
            congestion.row(congestion.factor, at.OF_LINK, link) for link in links_named(congestion.link, routes)
        )
    for kind, slow in ((at.OF_HOST, scenario.straggler), (at.OF_SERVERS, scenario.slow_server)):
        for one in slow:
            if one.host not in hosts:
                raise InputError(f"the scenario slows host {one.host!r}; there are {', '.join(hosts)}")
            rows.append(one.row(one.factor, kind, hosts.index(one.host)))
    return np.array(rows, np.float64).reshape(-1, len(at.PERIOD))


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
