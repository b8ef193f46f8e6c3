"""Rows to fetch by owner: what a cache says, put to the owners of the rows."""

import numpy as np
import pytest

from agents.policy import Decision
from sim.config import RunConfig
from sim.load import load
from sim.serve import serve, unserved
from sim.simulate import make_caches
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
    served = unserved(one, state)
    twice = 0
    for minibatch in range(40):
        held = set(state.contents().tolist())
        serve(served, one, state, minibatch, Decision(replace=True))
        ids = set(one.stream.minibatch(minibatch).tolist())
        missed = ids - held
        assert served.hit_rows[minibatch] == len(ids & held)
        fetched = np.array(sorted(missed), int)
        came = set(state.contents().tolist()) - held - {-1}
        if cache.startswith("score-public"):
            twice += len(came & missed)
            assert served.replacement_rows[minibatch] >= len(came)
        elif state.managed:
            assert served.replacement_rows[minibatch] == len(came - missed)
        assert served.rows_by_owner[minibatch].sum() == len(fetched) + served.replacement_rows[minibatch]
        assert served.rows_by_owner[minibatch][0] == 0
        assert (served.rows_by_owner[minibatch] >= np.bincount(one.owner_of[fetched], minlength=3)).all()
    if cache.startswith("score-public") and init == "empty":
        assert twice > 0
