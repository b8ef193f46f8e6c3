"""Timelines worked out by hand, to the microsecond."""

from dataclasses import replace

import numpy as np
import pytest

from agents.policy import Decision
from agents.registry import PolicyPlan, resolve
from sim.cluster.topology import from_header
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.simulation.simulate import simulate
from sim.workload.load import load
from traces.reader import Trace

COST = CostModel(request_s=1e-3, server_s_per_row=1e-5, scatter_s_per_row=2e-5, link_efficiency=1.0)
TIMES = {"forward_s": 0.004, "backward_s": 0.006, "allreduce_s": 0.002, "update_s": 0.001}


@pytest.fixture
def run(engine):
    """Simulates a trace, with either engine."""

    def simulated(path, plan, cost=COST, **options):
        trace = Trace(path)
        config = RunConfig(trace="hand", trace_sha256="", agent="never", engine=engine, **options)
        inputs = load(trace, "halo")
        return simulate(inputs, trace.header, plan, config, cost, from_header(trace.header, config.link_bytes_per_s))

    return simulated


def milliseconds(simulated, name):
    return np.round(simulated.times[name] * 1e3, 6).tolist()


@pytest.fixture
def two_trainers(write_trace, minibatch):
    """Links of 1 MB/s, rows of 100 bytes: trainer 0 asks host 1 for 100 rows, trainer 1 asks host 0 for 50."""
    first = minibatch(list(range(1000, 1100)), TIMES | {"sample_s": 0.010}, local_nodes=1)
    second = minibatch(list(range(50)), TIMES | {"sample_s": 0.020}, local_nodes=1)
    return write_trace([[[first]], [[second]]], nodes_per_partition=1000)


def test_two_trainers_and_two_servers(run, two_trainers):
    """
    trainer 0                                           trainer 1
    10.0  sampled, 1 ms for the request                 20.0  sampled
    11.0  800 bytes of ids leave, alone                 21.0  400 bytes of ids leave, and share host 1's way up and
    11.8  100 rows are served                                 host 0's way down with trainer 0's response
    12.8  10,000 bytes leave; 8,200 are there at 21.0   21.8  the request is there, at half the rate; 50 rows are served
    21.8  1,400 bytes are left, alone again             22.3  5,000 bytes leave, alone
    23.2  all there; 2 ms of scattering                 27.3  all there; 1 ms of scattering
    25.2  10 ms of computing                            28.3  10 ms of computing
    35.2  waits 3.1 ms                                  38.3  the slowest
    38.3  all-reduce and update                         41.3  the end
    """
    simulated = run(two_trainers, resolve("none"))
    assert milliseconds(simulated, "sample_s") == [[10.0], [20.0]]
    assert milliseconds(simulated, "fetch_s") == [[15.2], [8.3]]
    assert milliseconds(simulated, "stall_s") == [[25.2], [28.3]]
    assert milliseconds(simulated, "wait_s") == [[3.1], [0.0]]
    assert milliseconds(simulated, "step_s") == [[41.3], [41.3]]


def test_another_link_rate(run, two_trainers):
    """At 10 MB/s nothing meets: 11.08 + 1 + 1 + 2 = 15.08 ms, and 21.04 + .5 + .5 + 1 = 23.04 ms."""
    simulated = run(two_trainers, resolve("none"), link_bytes_per_s=1e7)
    assert milliseconds(simulated, "stall_s") == [[15.08], [23.04]]
    assert milliseconds(simulated, "step_s") == [[36.04], [36.04]]


def test_a_server_copies_rows_into_sockets_while_links_carry_them(run, two_trainers):
    """At 10 MB/s, where 10,000 bytes need 1 ms of a link and 10 ms of copying: 11.08 + 1 + 10 + 2 ms, and 5,000 bytes:
    21.04 + .5 + 5 + 1 ms. At 1 MB/s and a tenth of the copying, links take as long as without any."""
    slow, quick = (replace(COST, transfer_s_per_byte=seconds) for seconds in (1e-6, 1e-7))
    simulated = run(two_trainers, resolve("none"), slow, link_bytes_per_s=1e7)
    assert milliseconds(simulated, "stall_s") == [[24.08], [27.54]]
    assert milliseconds(run(two_trainers, resolve("none"), quick), "stall_s") == [[25.2], [28.3]]


@pytest.fixture
def two_epochs(write_trace, minibatch):
    """Two epochs of three minibatches without any remote row: 8 ms to prepare, 10 to compute, 3 to synchronise."""
    one = minibatch([], TIMES | {"sample_s": 0.005, "local_gather_s": 0.002, "label_s": 0.001})
    epochs = [[one] * 3] * 2
    return write_trace([epochs, epochs])


def test_none_prepares_and_computes_in_turns(run, two_epochs):
    simulated = run(two_epochs, resolve("none"))
    assert milliseconds(simulated, "step_s") == [[21.0] * 6] * 2
    assert milliseconds(simulated, "prepare_start_s") == [[0.0, 21.0, 42.0, 63.0, 84.0, 105.0]] * 2


def test_pipeline_prepares_during_the_computation_but_not_across_epochs(run, two_epochs):
    simulated = run(two_epochs, resolve("pipeline"))
    assert milliseconds(simulated, "stall_s") == [[8.0, 0.0, 0.0, 8.0, 0.0, 0.0]] * 2
    assert milliseconds(simulated, "start_s") == [[0.0, 21.0, 34.0, 47.0, 68.0, 81.0]] * 2
    assert milliseconds(simulated, "prepare_start_s") == [[0.0, 8.0, 21.0, 47.0, 55.0, 68.0]] * 2


@pytest.mark.parametrize(
    ("cache", "depth", "sampled", "stalled", "begun"),
    [
        ("lookahead:0", 1, [5, 5, 5, 5, 5, 5], [9, 0, 0, 8, 0, 0], [1, 9, 22, 48, 56, 69]),
        ("lookahead:1", 1, [10, 5, 0, 10, 5, 0], [14, 0, 0, 13, 0, 0], [1, 14, 27, 53, 66, 79]),
        ("lookahead:2", 1, [15, 0, 0, 15, 0, 0], [19, 0, 0, 18, 0, 0], [1, 19, 32, 58, 76, 89]),
        ("lookahead:9", 1, [15, 0, 0, 15, 0, 0], [19, 0, 0, 18, 0, 0], [1, 19, 32, 58, 76, 89]),
        ("lookahead:2", 0, [15, 0, 0, 15, 0, 0], [19, 3, 3, 18, 3, 3], [1, 32, 48, 64, 95, 111]),
        ("lookahead:2,epochs=across", 1, [15, 5, 5, 5, 0, 0], [19, 0, 0, 8, 0, 0], [1, 19, 32, 58, 66, 79]),
        ("lookahead:4,epochs=across", 1, [25, 5, 0, 0, 0, 0], [29, 0, 0, 3, 0, 0], [1, 29, 42, 68, 71, 84]),
    ],
)
def test_sampling_ahead_takes_its_time_earlier_and_not_less(run, two_epochs, cache, depth, sampled, stalled, begun):
    """1 ms to fill nothing. Before the first fetch all minibatches of the horizon are sampled, 5 ms each, then one a
    turn. A turn also takes 2 ms to gather and 1 ms for labels, a step 13 ms beside its stall."""
    simulated = run(two_epochs, resolve("never"), cache=cache, buffer="1", depth=depth)
    assert milliseconds(simulated, "sample_s") == [sampled] * 2
    assert milliseconds(simulated, "stall_s") == [stalled] * 2
    assert milliseconds(simulated, "prepare_start_s") == [begun] * 2
    assert milliseconds(simulated, "fetch_s") == [[2.0] * 6] * 2
    assert milliseconds(simulated, "step_s") == [[13.0 + one for one in stalled]] * 2


class Slow:
    """Always replaces, after thinking."""

    name = "slow"

    def __init__(self, latency_s):
        self.latency_s, self.asked = latency_s, []

    def reset(self, run, seed):
        pass

    def decide(self, observation):
        self.asked.append(observation.minibatch)
        return Decision(replace=True, latency_s=self.latency_s)


def plan_of(policy):
    return PolicyPlan(
        name="slow",
        pipelined=True,
        buffered=True,
        calls_model=False,
        timed=True,
        model=None,
        factory=lambda: policy,
    )


@pytest.fixture
def steady(write_trace, minibatch):
    """One trainer of interest: 12 minibatches of a row each, 13 ms a step, no time to prepare."""
    one = minibatch([11], TIMES, local_nodes=1)
    other = minibatch([], TIMES, local_nodes=1)
    return write_trace([[[one] * 12], [[other] * 12]])


@pytest.mark.parametrize(
    ("mode", "latency_s", "window", "applied"),
    [
        ("async", 0.0, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
        ("async", 0.0, 4, [4, 8]),
        # minibatch 0 is ready at 1.2 ms, its answer comes at 21.2; minibatch 2 is served at 14.2, 3 at 27.2. From then
        # on 20 ms of thought begin just after a step of 13 ms has: the answer serves the next minibatch but one.
        ("async", 0.020, 1, [3, 5, 7, 9, 11]),
        ("async", 0.020, 4, [5, 10]),
        ("sync", 0.020, 1, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]),
    ],
)
def test_a_decision_applies_when_the_time_it_took_has_passed(run, steady, mode, latency_s, window, applied):
    policy = Slow(latency_s)
    simulated = run(steady, plan_of(policy), mode=mode, window=window, buffer="1", init="empty")
    log = [entry.applied_minibatch for entry in simulated.decisions[0] if entry.applied_minibatch is not None]
    assert log == applied
    if mode == "sync":
        assert simulated.times["step_s"][0, 3] >= latency_s
    if mode == "async":
        assert simulated.times["step_s"][0, 3:].max() < 0.0131


def test_an_answer_that_never_came_is_logged_as_not_applied(run, steady):
    simulated = run(steady, plan_of(Slow(10.0)), buffer="1", init="empty")
    assert [entry.applied_minibatch for entry in simulated.decisions[0]] == [None]


def test_filling_the_buffer_is_counted_and_takes_time_before_the_first_minibatch(run, steady):
    simulated = run(steady, resolve("never"), buffer="10", init="degree")
    assert simulated.fill_rows == [10, 10]
    assert simulated.counts["hit_rows"][0].tolist() == [1] * 12
    assert simulated.counts["fetched_rows"].sum() == 0
    # trainer 0 and 1 fill at once, in opposite directions: 1 + 0.08 + 0.1 + 1 + 0.2 ms
    assert np.round(np.array(simulated.fill_s) * 1e3, 6).tolist() == [2.38, 2.38]
