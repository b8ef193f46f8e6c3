"""Rows to fetch by owner: what a cache says, put to the owners of the rows."""

import numpy as np
import pytest

from agents.policy import Decision
from agents.registry import POLICIES, resolve
from sim.cluster.topology import from_header
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.cache_replay import empty_counts, replay_minibatch
from sim.counts.policy_runs import count_ahead, make_caches
from sim.simulation.simulate import simulate
from sim.workload.load import load
from traces.reader import Trace


@pytest.fixture
def trace(write_trace, minibatch):
    """Three hosts of 100 nodes; trainer 0 draws from the other two, 40 minibatches of up to 30 rows."""
    rng = np.random.default_rng(0)
    drawn = [np.unique(100 + (rng.pareto(0.8, 30) * 9).astype(int).clip(0, 199)) for _ in range(40)]
    idle = [minibatch([])] * 40
    return Trace(write_trace([[[minibatch(ids.tolist()) for ids in drawn]], [idle], [idle]], nodes_per_partition=100))


@pytest.mark.parametrize("cache", ["score:period=1", "score-public:period=1", "frequency", "lru", "static"])
@pytest.mark.parametrize("init", ["empty", "degree"])
def test_every_fetched_row_has_an_owner(trace, cache, init):
    """Misses and replacements by owner add up, for the public score buffer too, which fetches some rows twice."""
    inputs = load(trace, "halo")
    config = RunConfig(trace="x", trace_sha256="", agent="always", cache=cache, buffer="40", init=init)
    one, state = inputs[0], make_caches(inputs, trace.header, config)[0]
    fetch_counts = empty_counts(one, state)
    twice = 0
    for minibatch in range(40):
        held = set(state.contents().tolist())
        replay_minibatch(fetch_counts, one, state, minibatch, Decision(replace=True))
        ids = set(one.stream.minibatch(minibatch).tolist())
        missed = ids - held
        assert fetch_counts.hit_rows[minibatch] == len(ids & held)
        fetched = np.array(sorted(missed), int)
        came = set(state.contents().tolist()) - held - {-1}
        if cache.startswith("score-public"):
            twice += len(came & missed)
            assert fetch_counts.replacement_rows[minibatch] >= len(came)
        elif state.managed:
            assert fetch_counts.replacement_rows[minibatch] == len(came - missed)
        assert fetch_counts.rows_by_owner[minibatch].sum() == len(fetched) + fetch_counts.replacement_rows[minibatch]
        assert fetch_counts.rows_by_owner[minibatch][0] == 0
        assert (fetch_counts.rows_by_owner[minibatch] >= np.bincount(one.owner_of[fetched], minlength=3)).all()
    if cache.startswith("score-public") and init == "empty":
        assert twice > 0


UNTIMED = [
    "never",
    "every:4",
    "always",
    "partial:.3",
    "random:.4",
    "threshold:.5",
    "hysteresis:.3,.6",
    "hill-climb:2",
    "bandit:16",
    "massivegnn:1",
    "rudder-every:1",
]
PUBLISHED = ("massivegnn:1", "rudder-every:1")
"""Which decide after every minibatch, and want the buffer's period to be their own."""


def test_every_policy_that_needs_no_time_is_named_here():
    """So that a new one is held to what follows."""
    untimed = {name for name, entry in POLICIES.items() if entry.buffered and not (entry.timed or entry.calls_model)}
    assert untimed == {spec.partition(":")[0] for spec in UNTIMED}


@pytest.mark.parametrize(("agent", "depth"), [*((agent, None) for agent in UNTIMED), ("always", 0), ("always", 3)])
def test_decisions_that_need_no_time_are_the_same_ahead_of_time(trace, agent, depth):
    """Hits, fetched rows, decisions and times are equal, whether time passed while they were made or not."""
    inputs, plan = load(trace, "halo"), resolve(agent)
    config = RunConfig(
        trace="x",
        trace_sha256="",
        agent=plan.name,
        cache="score:period=1",
        buffer="40",
        window=1 if agent in PUBLISHED else 2,
        depth=depth,
    )
    cost = CostModel(request_s=1e-3, server_s_per_row=1e-6, scatter_s_per_row=1e-6)
    cluster = from_header(trace.header, 1e6)
    within = simulate(inputs, trace.header, plan, config, cost, cluster)
    fetch_counts = count_ahead(inputs, trace.header, plan, config)
    assert fetch_counts is not None
    ahead = simulate(inputs, trace.header, plan, config, cost, cluster, fetch_counts=fetch_counts)
    assert within.fill_rows == ahead.fill_rows
    for name in within.counts:
        assert (within.counts[name] == ahead.counts[name]).all(), name
    for name in within.times:
        assert (within.times[name] == ahead.times[name]).all(), name
    made = [[(one.applied_minibatch, one.decision) for one in log] for log in ahead.decisions]
    assert made == [[(one.applied_minibatch, one.decision) for one in log] for log in within.decisions]
    assert agent == "never" or any(decision.replace for log in made for _, decision in log)
