"""A sweep in Python: what it takes, beside what the command takes."""

import pytest

from agents.heuristics.fixed import Every
from agents.policy import Decision
from sim import sweep
from sim.caches.lru import LRU
from traces.errors import InputError


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace()


class Third:
    """Replaces after every third observation."""

    name = "third"

    def reset(self, run, seed):
        self._seen = 0

    def decide(self, observation):
        self._seen += 1
        return Decision(replace=self._seen % 3 == 0)


class Mine(LRU):
    """A cache of a user's own, which is LRU."""


def test_policies_and_caches_of_ones_own_are_classes_or_named(trace):
    named = f"{Third.__module__}:Third"
    table = sweep(trace, agents=["none", Third, "every:3"], caches=["score", Mine, "lru"], buffers="50")
    assert sweep(trace, agents=Third, caches="score", buffers="50")["agent"].to_list() == [named]
    times = {(row["agent"], row["cache"]): row["epoch_s_mean"] for row in table.to_dicts()}
    assert times[named, "score"] == times["every:3", "score"]
    assert times["never", f"{Mine.__module__}:Mine"] == times["never", "lru"]
    assert {len(sha256) for sha256 in table.filter(agent=named)["agent_sha256"]} == {64}
    assert table["vs_none"].null_count() == 0


def test_an_object_is_refused_with_what_to_give(trace):
    with pytest.raises(InputError, match=r"agents: .* is an object, .*; give its class, agents.heuristics.fixed:Every"):
        sweep(trace, agents=["none", Every(4)])


def test_a_list_that_there_is_not(trace):
    with pytest.raises(InputError, match="sweep has no list 'policies'; there are agents, caches"):
        sweep(trace, policies=["none"])


def test_starts_of_caches_that_choose_their_own_are_counted_once(trace):
    table = sweep(trace, agents=["never"], caches=["random", "lru"], inits=["empty", "degree"], buffers="50")
    assert sorted(table.select("cache", "init").rows()) == [("lru", "degree"), ("lru", "empty"), ("random", "degree")]
