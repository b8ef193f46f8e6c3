"""Cores shared by hand; other clusters, scenarios and what-ifs have the effects that they should."""

import json

import numpy as np
import pytest

from agents.policy import Decision
from agents.registry import PolicyPlan, resolve
from sim.cluster.clusterfile import cluster_of
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.runs.whatif import changed, repartitioned
from sim.simulation.simulate import simulate
from sim.workload.load import load
from traces.errors import InputError
from traces.reader import Trace

COST = CostModel(request_s=1e-3, server_s_per_row=1e-5, scatter_s_per_row=2e-5, link_efficiency=1.0)
TIMES = {"sample_s": 0.004, "local_gather_s": 0.001, "forward_s": 0.004, "backward_s": 0.006, "allreduce_s": 0.002}
NETWORK = {"form": "none", "servers_per_host": 1, "trainers_per_host": 1, "link_bytes_per_s": 1e6}


@pytest.fixture
def trace(write_trace, minibatch):
    """Three hosts with 24 minibatches of 30 rows from either of the others, in two epochs; links of 1 MB/s."""
    rng = np.random.default_rng(0)

    def rows(host):
        others = [other for other in range(3) if other != host]
        return sorted(int(100 * other + node) for other in others for node in rng.choice(100, 30, replace=False))

    ranks = [[[minibatch(rows(host), TIMES) for _ in range(12)] for _ in range(2)] for host in range(3)]
    return Trace(write_trace(ranks, nodes_per_partition=100))


@pytest.fixture
def run(engine):
    """Simulates a trace, with either engine."""

    def simulated(trace, agent="none", cost=COST, **options):
        config = RunConfig(trace="", trace_sha256="", agent="none", engine=engine, **options)
        inputs, header, cost = changed(load(trace, "halo"), trace.header, cost, config)
        plan = resolve(agent) if isinstance(agent, str) else agent
        return simulate(inputs, header, plan, config, cost, cluster_of(header, config))

    return simulated


def seconds(simulated):
    return float((simulated.times["start_s"] + simulated.times["step_s"]).max())


def said(**parts):
    return json.dumps(parts)


def test_threads_of_one_machine_share_its_cores(run, write_trace, minibatch):
    """Two trainers, one core: 5 ms of sampling each take 10, 10 ms of computing take 20. One samples twice as long:
    both have half of the core until the first is done at 10 ms; the second has 5 ms left, beside the other's computing,
    and ends at 20. The first has then done 5 of its 10 ms, is done at 30, and the other, with 5 ms left, at 35."""
    first = minibatch([], {"sample_s": 0.005, "forward_s": 0.010})
    second = minibatch([], {"sample_s": 0.010, "forward_s": 0.010})
    both = Trace(write_trace([[[first]], [[first]]]))
    simulated = run(both, cluster=said(shared_cores=1))
    assert simulated.times["step_s"] * 1e3 == pytest.approx(np.full((2, 1), 30.0))
    unlike = Trace(write_trace([[[first]], [[second]]], name="unlike.parquet"))
    simulated = run(unlike, cluster=said(shared_cores=1))
    assert simulated.times["sample_s"][:, 0] * 1e3 == pytest.approx([10.0, 20.0])
    assert simulated.times["compute_s"][:, 0] * 1e3 == pytest.approx([20.0, 15.0])
    assert seconds(run(unlike, cluster=said(cores=1))) == pytest.approx(0.020)


def test_two_threads_of_an_interpreter_hold_its_lock_in_turn(run, trace, write_trace, minibatch):
    alone, gil_slowdown = (
        CostModel(request_s=0, server_s_per_row=0, scatter_s_per_row=0, gil_slowdown=x) for x in (1.0, 1.5)
    )
    assert seconds(run(trace, "none", alone)) == seconds(run(trace, "none", gil_slowdown))
    assert seconds(run(trace, "pipeline", alone)) < seconds(run(trace, "pipeline", gil_slowdown))

    one = minibatch([], {"sample_s": 0.010, "forward_s": 0.010})
    alike = Trace(write_trace([[[one] * 8]], name="alike.parquet"))
    on_two = seconds(run(alike, "pipeline", gil_slowdown)) / seconds(run(alike, "pipeline", alone))
    assert on_two == pytest.approx((7 * 1.5 + 2) / 9, rel=0.1)  # both work, but at first and at last
    on_one = [seconds(run(alike, "pipeline", cost, cluster=said(shared_cores=1))) for cost in (alone, gil_slowdown)]
    assert on_one[1] == pytest.approx(on_one[0], rel=0.05)  # where they share a core they are never both at work


@pytest.mark.parametrize(("cores", "fetch_ms"), [(1, 5.0), (2, 2.0)])
def test_a_server_that_has_slept_gets_a_busy_core_after_a_time_slice(run, write_trace, minibatch, cores, fetch_ms):
    """Trainer 1 samples for 10 ms, when trainer 0 asks its host for a row, which takes the server 2 ms. On the only
    core, that begins after a time slice of 1 ms, and takes twice as long as half of the core is the trainer's."""
    cost = CostModel(request_s=0.0, server_s_per_row=0.0, scatter_s_per_row=0.0, server_s=0.002)
    ranks = [[[minibatch([15])]], [[minibatch([], {"sample_s": 0.010})]]]
    times = run(Trace(write_trace(ranks)), cost=cost, cluster=said(shared_cores=cores), link_bytes_per_s=1e12).times
    assert times["fetch_s"][:, 0] * 1e3 == pytest.approx([fetch_ms, 0.0], abs=1e-3)


@pytest.mark.parametrize("agent", ["none", "pipeline"])
def test_faster_links_and_less_latency_are_never_slower(run, trace, agent):
    by_rate = [seconds(run(trace, agent, link_bytes_per_s=rate)) for rate in (1e5, 2e5, 5e5, 1e6, 1e7, 1e9)]
    assert by_rate == sorted(by_rate, reverse=True)
    assert by_rate[0] > 2 * by_rate[-1]
    by_latency = [seconds(run(trace, agent, link_latency_s=latency)) for latency in (0.0, 1e-4, 1e-3, 1e-2)]
    assert by_latency == sorted(by_latency)
    assert by_latency[0] < by_latency[1]


def test_a_deeper_look_ahead_gains_less_and_less(run, trace):
    by_depth = [seconds(run(trace, "pipeline", depth=depth)) for depth in (0, 1, 2, 4)]
    assert by_depth[0] == seconds(run(trace, "none")) > 1.5 * by_depth[1]
    assert by_depth[2:] == pytest.approx(by_depth[1:2] * 2, rel=0.01)  # fetching alone takes that long


@pytest.fixture
def one_fetch(write_trace, minibatch):
    """Trainer 0 samples for 10 ms and asks host 1 for 100 rows of 100 bytes; trainer 1 only computes. Links of 1 MB/s.

    From 10.0 ms: 1 ms for the request, 0.8 for its 800 bytes, 1 to serve it, 10 for 10,000 bytes, 2 to scatter rows:
    14.8 ms of fetching, in which the response is on its way from 12.8 to 22.8.
    """
    times = {"forward_s": 0.004, "backward_s": 0.006}
    first = minibatch(list(range(1000, 1100)), times | {"sample_s": 0.010})
    return Trace(write_trace([[[first]], [[minibatch([], times)]]], nodes_per_partition=1000, name="one.parquet"))


def slowed(**period):
    """Of links, from 15 ms on, when 2,200 bytes of the response are through."""
    return {"scenario": said(congestion=[{"start_s": 0.015} | period])}


@pytest.mark.parametrize(
    ("options", "sample_ms", "fetch_ms", "compute_ms"),
    [
        ({}, 10, 14.8, 10),
        ({"link_bytes_per_s": 2e6}, 10, 1 + 0.4 + 1 + 5 + 2, 10),
        ({"cluster": said(link={"rate": "16mbit"})}, 10, 1 + 0.4 + 1 + 5 + 2, 10),
        ({"link_latency_s": 0.001}, 10, 14.8 + 2 * 2, 10),  # two links each way
        ({"cluster": said(link={"latency_s": 0.001})}, 10, 14.8 + 2 * 2, 10),
        ({"cluster": said(host=[{"name": "machine1", "rate": "1mbit"}])}, 10, 1 + 6.4 + 1 + 80 + 2, 10),
        ({"cluster": said(host=[{"name": "machine1", "latency_s": 0.003}])}, 10, 14.8 + 2 * 3, 10),
        (  # inside a rack, nothing crosses its uplink
            {"cluster": said(rack=[{"name": "rack", "hosts": ["machine0", "machine1"], "oversubscription": 8}])},
            10, 14.8, 10,
        ),
        (
            {"cluster": said(rack=[{"name": "rack", "hosts": ["machine1"], "oversubscription": 8}])},
            10, 1 + 6.4 + 1 + 80 + 2, 10,
        ),
        ({"compute_speed": 10.0}, 10, 14.8, 1),
        ({"compute_speed": 0.5}, 10, 14.8, 20),
        ({"feature_bytes": 400}, 10, 1 + 0.8 + 4 + 40 + 8, 10),  # serving and scattering a row take as much longer
        ({"feature_bytes": 50}, 10, 1 + 0.8 + 0.5 + 5 + 1, 10),
        (slowed(factor=0.1, end_s=0.020), 10, 5 + 5 + 7.3 + 2, 10),  # 500 bytes in 5 ms; 7,300 are left
        (slowed(factor=0, link="machine1", end_s=0.020), 10, 5 + 5 + 7.8 + 2, 10),
        (slowed(factor=0.5, end_s=0.016, repeat_s=0.002), 10, 5 + 5 * 2 + 0.6 + 2, 10),  # 1,500 bytes in 2 ms
        ({"scenario": said(straggler=[{"host": "machine0", "factor": 0.5}])}, 20, 2 + 0.8 + 1 + 10 + 4, 20),
        ({"scenario": said(straggler=[{"host": "machine1", "factor": 0.5}])}, 10, 1 + 0.8 + 2 + 10 + 2, 10),
        ({"scenario": said(slow_server=[{"host": "machine1", "factor": 0.05}])}, 10, 1 + 0.8 + 20 + 10 + 2, 10),
    ],
)  # fmt: skip
def test_what_is_changed_takes_what_it_should(run, one_fetch, options, sample_ms, fetch_ms, compute_ms):
    times = run(one_fetch, **options).times
    parts = [times[name][0, 0] * 1e3 for name in ("sample_s", "fetch_s", "compute_s")]
    assert parts == pytest.approx([sample_ms, fetch_ms, compute_ms])


def test_minibatches_that_are_dealt_out_share_links_and_server(run, write_trace, minibatch):
    """Two trainers of host 0 ask at 11.0 ms; both requests share its way up until 12.6. One response leaves at 13.6,
    the other at 14.6, when 1,000 bytes of the first are through; its 9,000 share the link until 32.6. The second's
    last 1,000 bytes are there at 33.6; 2 ms of scattering each."""
    times = {"forward_s": 0.004, "backward_s": 0.006}
    first = minibatch(list(range(1000, 1100)), times | {"sample_s": 0.010})
    trace = Trace(write_trace([[[first] * 2], [[minibatch([], times)] * 2]], nodes_per_partition=1000))
    simulated = run(trace, trainers_per_host=2)
    assert simulated.times["fetch_s"][:, 0] * 1e3 == pytest.approx([24.6, 25.6, 0.0, 0.0])


def test_congestion_all_along_is_a_slower_link(run, trace):
    """Also for short messages, which wait behind the windows that stand in the queues."""
    cluster = said(link={"window_bytes": 500})
    congested = run(trace, "pipeline", cluster=cluster, scenario=said(congestion=[{"factor": 0.25}]))
    slower = run(trace, "pipeline", cluster=cluster, link_bytes_per_s=0.25e6)
    assert congested.times["step_s"] == pytest.approx(slower.times["step_s"], rel=1e-9)


def test_a_core_that_is_free_is_free_after_any_number_of_jobs(run, write_trace, minibatch):
    """Two threads of a trainer keep 1 + 1/1.5 cores busy, and one that wakes asks for 1 at most: seven cores always do
    for four trainers, just so. Parts of cores that are added and taken away again must not leave a rest."""
    rng = np.random.default_rng(0)
    cost = CostModel(request_s=0.0, server_s_per_row=0.0, scatter_s_per_row=0.0, gil_slowdown=1.5)

    def drawn():
        return minibatch([], dict(zip(("sample_s", "forward_s"), rng.random(2) / 50, strict=True)))

    trace = Trace(write_trace([[[drawn() for _ in range(400)]] for _ in range(4)]))
    few, many = (run(trace, "pipeline", cost, cluster=said(shared_cores=cores)) for cores in (7, 64))
    assert few.times["step_s"] == pytest.approx(many.times["step_s"], rel=1e-9)


def test_a_failed_link_returns(run, trace):
    """Nothing of machine 2 arrives from .1 to .5 s: the run is about as much longer."""
    failed = {"factor": 0, "link": "machine2", "start_s": 0.1, "end_s": 0.5}
    lost_s = seconds(run(trace, scenario=said(congestion=[failed]))) - seconds(run(trace))
    assert 0.35 < lost_s < 0.41


def test_a_straggler_makes_all_others_wait(run, trace):
    times = run(trace, scenario=said(straggler=[{"host": "machine1", "factor": 0.25}])).times
    assert times["compute_s"][1] == pytest.approx(0.040)
    assert times["compute_s"][[0, 2]] == pytest.approx(0.010)
    assert (times["wait_s"][[0, 2]] > 0.02).all()


def test_a_server_answers_while_earlier_rows_are_still_copied(run, trace):
    """A slow host takes a hundred times as long to copy rows into sockets, longer than until it is asked again; but it
    has cores enough, and links carry what is copied first."""
    cost = CostModel(request_s=0.0, server_s_per_row=0.0, scatter_s_per_row=0.0, transfer_s_per_byte=1e-7)
    slow, cores = said(slow_server=[{"host": "machine1", "factor": 0.01}]), said(cores=8)
    steady_s = seconds(run(trace, cost=cost, cluster=cores))
    assert seconds(run(trace, cost=cost, cluster=cores, scenario=slow)) == pytest.approx(steady_s)
    assert seconds(run(trace, cost=cost, scenario=slow)) > 1.2 * steady_s  # where copying takes cores from others


def test_a_straggler_holds_up_the_ring_after_it(run, write_trace, minibatch):
    """Four rounds of 1 ms, 2 ms at machine1. Trainer 1 adds a part every 2 ms; what trainer 2 adds last comes from it
    at 6 ms; and trainer 0 has to wait for trainer 2 once, at 3 ms, for what took trainer 1 until 2 ms."""
    one = minibatch([], {"allreduce_s": 0.004})
    trace = Trace(write_trace([[[one]]] * 3))
    assert run(trace).times["allreduce_s"][:, 0] * 1e3 == pytest.approx([4.0, 4.0, 4.0])
    late = run(trace, scenario=said(straggler=[{"host": "machine1", "factor": 0.5}]))
    assert late.times["allreduce_s"][:, 0] * 1e3 == pytest.approx([6.0, 8.0, 7.0])


class Thinks:
    """Replaces after 5 ms of thought."""

    name = "thinks"

    def reset(self, run, seed):
        pass

    def decide(self, observation):
        return Decision(replace=True, latency_s=0.005)


def test_a_model_that_times_out_and_one_that_shares_cores(run, trace):
    plan = PolicyPlan(
        name="thinks", pipelined=True, buffered=True, calls_model=False, timed=True, model=None, factory=Thinks
    )
    silent = run(trace, plan, buffer="20", scenario=said(model_timeout=[{"start_s": 0.0, "end_s": 0.2}]))
    first = silent.decisions[0][0].decision
    assert (first.outcome, first.replace) == ("late", False)
    assert 0.1 < first.latency_s <= 0.2
    assert silent.decisions[0][-1].decision.outcome == "valid"
    apart, beside = (run(trace, plan, buffer="20", cluster=said(shared_cores=1, agent_cores=n)) for n in (0, 1))
    assert seconds(beside) > seconds(apart)


def test_what_if_a_policy_took_as_long_as_a_model(run, trace):
    """Answers are late by a log-normal time, the same under the same seed; fewer questions fit into the run."""
    plan = resolve("every:1")
    at_once = run(trace, plan, buffer="20")
    slow, again, slower = (
        run(trace, plan, buffer="20", cluster=said(agent_latency_s=median_s, agent_latency_spread=0.5))
        for median_s in (0.005, 0.005, 0.05)
    )
    took = [np.array([one.decision.latency_s for one in of]) for of in slow.decisions]
    assert 0.002 < np.median(np.concatenate(took)) < 0.012
    assert len(set(took[0].tolist())) == len(took[0])
    assert took[0][0] != took[1][0]
    assert [one.applied_minibatch for one in slow.decisions[0]] == [one.applied_minibatch for one in again.decisions[0]]
    assert np.array_equal(slow.times["step_s"], again.times["step_s"])
    asked = [len(one.decisions[0]) for one in (at_once, slow, slower)]
    assert asked == sorted(asked, reverse=True)
    assert asked[0] > asked[2]
    assert {one.decision.latency_s for one in at_once.decisions[0]} == {0.0}


def test_other_owners(trace):
    """All of host 1's nodes move to host 2, and back."""
    inputs = load(trace, "halo")
    owners = np.repeat([0, 2, 2], 100)
    moved = repartitioned(inputs, trace.header, owners)
    assert moved[0].owner_rows[:, 1].sum() == 0
    assert moved[0].owner_rows[:, 2].tolist() == inputs[0].owner_rows.sum(axis=1).tolist()
    back = repartitioned(moved, trace.header, np.repeat([0, 1, 2], 100))
    assert all(np.array_equal(a.owner_rows, b.owner_rows) for a, b in zip(back, inputs, strict=True))
    for owners, message in ((np.zeros(3, int), "for each of 300 nodes"), (np.full(300, 3), "hosts are 0 to 2")):
        with pytest.raises(InputError, match=message):
            repartitioned(inputs, trace.header, owners)


def test_how_busy_links_are(trace):
    """What crosses machine 0's way down is what it asks for, and requests of 8 bytes a row go up."""
    config = RunConfig(trace="", trace_sha256="", agent="none")
    inputs, header = load(trace, "halo"), trace.header
    found = simulate(inputs, header, resolve("none"), config, COST, cluster_of(header, config), bins=100)
    used = dict(zip(found.used_names, found.used.sum(axis=0) * found.bin_s * 1e6, strict=True))
    assert used["link", "switch to machine0"] == pytest.approx(
        24 * 60 * 100 + 8 * inputs_of_others(inputs, 0), rel=1e-6
    )
    assert used["servers", "machine0"] / 1e6 == pytest.approx(1e-5 * inputs_of_others(inputs, 0))


def test_the_reference_engine_records_no_use(trace, tmp_path, run_cli):
    out = tmp_path / "out"
    options = "--trace", str(trace.path), "--agent", "none", "--engine", "simpy", "--timeline", "--out", str(out)
    code, _, err = run_cli("sim.run", *options)
    assert code == 2
    assert "--engine simpy doesn't record how busy links and servers are: leave out --timeline" in err
    assert err.count("\n") == 1
    assert not out.exists()


def inputs_of_others(inputs, host):
    return sum(int(one.owner_rows[:, host].sum()) for one in inputs)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--cluster", "[[host]]\nname = 'nowhere'", "the cluster names host 'nowhere'; the trace has machine0"),
        ("--cluster", "[link]\nrate = '0bit'", "link.rate: link rate '0bit': must be at least 8bit"),
        ("--cluster", "[link]\nlatency_s = -1", "link.latency_s: Input should be greater than or equal to 0"),
        ("--cluster", "hosts = 3", "hosts: Extra inputs are not permitted"),
        ("--cluster", "cores = 1\nshared_cores = 2", "both cores and shared_cores"),
        ("--cluster", "agent_latency_spread = 0.5", "agent_latency_spread needs agent_latency_s"),
        ("--cluster", "nonsense", "no TOML file"),
        ("--scenario", "[[straggler]]\nhost = 'nowhere'\nfactor = 0.5", "slows host 'nowhere'; there are machine0"),
        ("--scenario", "[[congestion]]\nfactor = 0.5\nlink = 'x'", "names link 'x'; there are"),
        ("--scenario", "[[congestion]]\nfactor = 0", "ends the run: give end_s"),
        ("--scenario", "[[congestion]]\nfactor = 0.5\nstart_s = 3\nend_s = 2", "is not after start_s = 3"),
        ("--cost", "{}", "no cost model"),
    ],
)
def test_files_that_cannot_be(trace, tmp_path, run_cli, option, text, message):
    file = tmp_path / "file"
    file.write_text(text)
    code, _, err = run_cli("sim.run", "--trace", str(trace.path), option, str(file), "--out", str(tmp_path / "out"))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()
