"""Ranking functions as caches."""

import numpy as np
import pytest
from streams import run, setup, skewed, stream

from sim.caches.check import check_cache
from sim.caches.lru import LRU
from sim.caches.ranked import Ranked
from sim.caches.vip_demand import VIPDemand

VIP = (np.random.default_rng(2).permutation(60) // 2 / 60).astype(np.float32)  # each twice


class Likeliest(Ranked):
    def rank(self, rows):
        return rows.vip


class Youngest(Ranked):
    def rank(self, rows):
        return -rows.age


class Mixed(Ranked):
    def rank(self, rows):
        return rows.accesses / (1.0 + rows.age) + rows.vip + 1e-3 * rows.gap


@pytest.mark.parametrize("kind", [Likeliest, Youngest, Mixed])
def test_a_ranking_function_keeps_the_protocol(kind):
    assert len(check_cache(lambda setup: kind(setup=setup))) == 8


@pytest.mark.parametrize("capacity", [1, 7, 30, 59])
def test_ranked_by_probability_it_is_vip_demand(capacity):
    drawn = skewed(50, 20, 60, seed=3, drift=2)
    trace = stream([drawn.minibatch(m) for m in range(50)], 60, VIP)
    ours, theirs = Likeliest(setup=setup(capacity, trace)), VIPDemand(setup=setup(capacity, trace))
    assert run(ours, trace) == run(theirs, trace)
    assert set(ours.contents().tolist()) == set(theirs.contents().tolist())


def test_ranked_by_age_it_has_the_hits_of_lru_where_no_minibatch_ends_in_the_middle_of_one():
    drawn = [list(range(start % 40, start % 40 + 4)) for start in range(0, 400, 4)]
    trace = stream(drawn, 44)
    assert run(Youngest(setup=setup(20, trace)), trace) == run(LRU(setup=setup(20, trace)), trace)


def test_what_a_ranking_function_is_told():
    seen = []

    class Told(Ranked):
        def rank(self, rows):
            seen.append(rows)
            return rows.accesses

    cache = Told(setup=setup(2, stream([[0, 1], [1], [1, 2]], 5, VIP[:5]), epoch=10))
    for ids in ([0, 1], [1], [1, 2]):
        cache.access(np.array(ids, np.int32))
    [rows] = seen  # it is asked where something must go
    assert (rows.accesses.tolist(), rows.age.tolist(), rows.gap.tolist()) == ([1, 3, 1], [2, 0, 0], [0, 1, 0])
    assert (rows.held.tolist(), rows.minibatch, rows.minibatches_per_epoch) == ([True, True, False], 2, 10)
    np.testing.assert_array_equal(rows.vip, VIP[:3].astype(float))


@pytest.mark.parametrize("ranks", [np.zeros(1), np.full(3, np.nan), np.zeros((3, 3))])
def test_ranks_that_are_none(ranks):
    class Wrong(Ranked):
        def rank(self, rows):
            return ranks

    cache = Wrong(setup=setup(2, stream([[0, 1], [2]], 5)))
    cache.access(np.array([0, 1], np.int32))
    with pytest.raises(ValueError, match="rank must give a number a row"):
        cache.access(np.array([2], np.int32))
