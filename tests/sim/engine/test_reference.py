"""The reference engine and the compiled one are one model: all their times agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.policy import Decision
from agents.registry import PolicyPlan, resolve
from sim.cluster.clusterfile import cluster_of
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.runs.whatif import changed, repartitioned
from sim.simulation.simulate import simulate
from sim.workload.load import load
from traces.reader import Trace

MINIBATCHES = {2: 8, 3: 5, 4: 3}
"""Minibatches of an epoch, by hosts: two epochs each."""

ROWS = (0, 3, 30)
"""The most remote rows of a minibatch."""

NODES = 40
"""Nodes of a partition."""

POLICIES = ("none", "pipeline", "never", "always", "every:6", "random:0.5", "climb", "benefit", "bandit")
CACHES = (
    "score", "score-public", "frequency", "window", "static", "vip-sampled", "lru", "sieve", "min", "infinite",
    "lookahead:2", "lookahead:3,epochs=across",
)  # fmt: skip
PARTS = ("sample_s", "local_gather_s", "label_s", "forward_s", "backward_s", "allreduce_s", "update_s", "copy_s")


class Thinks:
    """Replaces two times of three, after some thought."""

    name = "thinks"

    def __init__(self, latency_s):
        self.latency_s, self.asked = latency_s, 0

    def reset(self, run, seed):
        pass

    def decide(self, observation):
        self.asked += 1
        return Decision(replace=self.asked % 3 > 0, latency_s=self.latency_s * (self.asked % 2 + 1))


def plan_of(policy):
    """A policy by its name, or one that thinks so many seconds."""
    if isinstance(policy, str):
        return resolve(policy)
    return PolicyPlan(
        name="thinks", pipelined=True, buffered=True, calls_model=False, timed=True, model=None,
        factory=lambda: Thinks(policy),
    )  # fmt: skip


def one_of(*values):
    return st.sampled_from(values)


def some(always=None, **fields):
    """A dictionary that has any of these fields."""
    return st.fixed_dictionaries(always or {}, optional=fields)


seconds = one_of(0.0, 1e-4, 1e-3, 2e-3, 0.0123456789)
"""What many things take. Round numbers, since things have to happen at the same instant often."""

costs = st.builds(
    CostModel,
    request_s=seconds,
    server_s=seconds,
    server_s_per_row=one_of(0.0, 1e-5, 1e-4),
    scatter_s_per_row=one_of(0.0, 2e-5, 1e-4),
    step_overhead_s=seconds,
    handoff_latency_s=seconds,
    transfer_s_per_byte=one_of(0.0, 1e-7, 1e-6, 1e-5),
    gil_slowdown=one_of(1.0, 1.1, 1.5, 2.0),
    nagle_delays=one_of(0.0, 0.5, 1.0, 2.0),
    buffer_s_per_row=one_of(0.0, 1e-5),
    link_efficiency=one_of(1.0, 1448 / 1514),
)


def clusters(hosts):
    """Contents of a cluster file."""
    names = [f"machine{number}" for number in range(hosts)]
    cores = one_of(0.5, 1.0, 1.5, 2.0, 4.0, 64.0)
    linked = {"rate": one_of("1mbit", "8mbit", "100mbit", "10gbit"), "latency_s": one_of(0.0, 5e-5, 1e-3, 0.01)}
    link = some(
        **linked, burst_bytes=one_of(0.0, 500.0, 5e3, 1e5), window_bytes=one_of(0.0, 100.0, 1e3, 65536.0, 1e6)
    )  # fmt: skip
    host = some({"name": one_of(*names)}, cores=cores, **linked)
    rack = some(
        {"name": st.just("rack"), "hosts": st.just(names[: hosts // 2 + 1])},
        oversubscription=one_of(1.0, 2.0, 8.0), latency_s=linked["latency_s"],
    )  # fmt: skip
    parts = some(
        agent_cores=one_of(0.5, 1.0, 2.0), link=link, host=st.lists(host, max_size=2), rack=st.lists(rack, max_size=1)
    )
    shared = st.dictionaries(one_of("cores", "shared_cores"), cores, max_size=1)
    slow = some({}) | some({"agent_latency_s": seconds.filter(bool)}, agent_latency_spread=st.just(0.5))
    return st.builds(lambda *drawn: json.dumps(drawn[0] | drawn[1] | drawn[2]), parts, shared, slow)


def scenarios(hosts):
    """Contents of a scenario file."""
    names = [f"machine{number}" for number in range(hosts)]

    def period(start_s, length_s, repeats, **what):
        repeat = {"repeat_s": repeats * length_s} if repeats else {}
        return what | repeat | {"start_s": start_s, "end_s": start_s + length_s}

    def periods(**what):
        lengths_s = one_of(0.001, 0.01, 0.05, 1.0)
        one = st.builds(period, one_of(-0.0005, 0.0, 0.005, 0.1), lengths_s, one_of(None, 1.5, 3.0), **what)
        return st.lists(one, max_size=2)

    links, hosts_named, factors = one_of("", *names, "switch"), one_of(*names), one_of(0.1, 0.5, 0.9, 2.0)
    return some(
        congestion=periods(link=links, factor=one_of(0.0, 0.1, 0.5, 1.5)),
        straggler=periods(host=hosts_named, factor=factors),
        slow_server=periods(host=hosts_named, factor=factors),
        model_timeout=periods(),
    ).map(json.dumps)


def runs(hosts):
    """What is simulated: what was captured, policy, configuration and cost model."""
    captured = st.fixed_dictionaries(
        {
            "hosts": st.just(hosts),
            "rows": one_of(*ROWS),
            "seed": st.integers(0, 2**32 - 1),
            "grid_s": one_of(0.0, 1e-3, 5e-3),
            "edges": one_of(0, 50),
            "moved": st.booleans(),
            "gradient_bytes": one_of(0, 100, 4000, 100_000),
            "servers_per_host": st.integers(1, 3),
            "form": one_of("none", "namespaces", "ssh"),
            "link_bytes_per_s": one_of(1e5, 1e6, 1e8),
        }
    )
    configuration = st.builds(
        RunConfig,
        trace=st.just(""),
        trace_sha256=st.just(""),
        agent=st.just("never"),
        cache=one_of(*CACHES),
        buffer=one_of("10%", "50%", "5"),
        init=one_of("degree", "empty", "random"),
        window=st.integers(1, 3),
        mode=one_of("async", "sync"),
        depth=one_of(None, 0, 1, 2),
        compute_speed=one_of(1.0, 10.0),
        trainers_per_host=one_of(None, 2, 3),
        link_latency_s=one_of(None, 1e-3),
        cluster=st.just("") | clusters(hosts),
        scenario=st.just("") | scenarios(hosts),
        seed=st.integers(0, 3),
    )
    return st.tuples(captured, one_of(*POLICIES, 0.0, 1e-3, 0.015), configuration, costs)


@pytest.fixture
def traces(write_trace, minibatch):
    """Two epochs of random minibatches, by hosts and rows."""
    rng = np.random.default_rng(0)

    def remote(host, rows):
        others = np.delete(np.arange(hosts * NODES), np.s_[host * NODES : (host + 1) * NODES])
        return np.sort(rng.choice(others, rng.integers(rows + 1), replace=False)).tolist()

    found = {}
    for hosts, minibatches in MINIBATCHES.items():
        for rows in ROWS:
            ranks = [
                [[minibatch(remote(host, rows)) for _ in range(minibatches)] for _ in "12"] for host in range(hosts)
            ]
            trace = Trace(write_trace(ranks, nodes_per_partition=NODES, name=f"{hosts}x{rows}.parquet"))
            found[hosts, rows] = trace.header, load(trace, "halo")
    return lambda hosts, rows: found[hosts, rows]


def as_captured(header, inputs, captured):
    """The trace with other times and another cluster."""
    rng, grid_s = np.random.default_rng(captured["seed"]), captured["grid_s"]

    def took_s(count):
        """Often nothing, and where there is a grid often the same."""
        drawn = rng.random(count) * 0.02 * (rng.random(count) < 0.7)
        return np.round(drawn / grid_s) * grid_s if grid_s else drawn

    inputs = [
        replace(
            one,
            times=one.times | {part: took_s(one.stream.minibatches) for part in PARTS},
            sampled_edges=rng.integers(0, captured["edges"] + 1, one.stream.minibatches),
        )
        for one in inputs
    ]
    if captured["moved"]:
        inputs = repartitioned(inputs, header, rng.integers(0, captured["hosts"], captured["hosts"] * NODES))
    cluster = {name: captured[name] for name in ("servers_per_host", "form", "link_bytes_per_s")}
    training = header.training.model_copy(update={"gradient_bytes": captured["gradient_bytes"]})
    return inputs, header.model_copy(
        update={"cluster": header.cluster.model_copy(update=cluster), "training": training}
    )


@given(one_of(*MINIBATCHES).flatmap(runs))
@settings(
    max_examples=500, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_all_times_of_both_engines_are_equal(traces, case):
    captured, policy, config, cost = case
    header, inputs = traces(captured["hosts"], captured["rows"])
    inputs, header, cost = changed(*as_captured(header, inputs, captured), cost, config)

    def run(engine):
        of_engine = config.model_copy(update={"engine": engine})
        return simulate(inputs, header, plan_of(policy), of_engine, cost, cluster_of(header, of_engine))

    compiled, reference = run("compiled"), run("simpy")
    for name, of_compiled in compiled.times.items():
        np.testing.assert_allclose(reference.times[name], of_compiled, rtol=0, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(reference.fill_s, compiled.fill_s, rtol=0, atol=1e-9)
    assert reference.decisions == compiled.decisions
