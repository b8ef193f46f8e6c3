"""MIN in a table of policies: its first rows fill the buffer, as theirs do, and no more hits come with as few rows."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.caches.cache import Setup
from sim.caches.registry import CACHES, cache_class, make_cache
from sim.counts.bound import bound_of_trainer, first_uses
from sim.runs.twin import Twin
from sim.workload.stream import Stream, Universe

ROWS = 16
TIMES = {"sample_s": 0.001, "forward_s": 0.002, "backward_s": 0.002, "fetch_s": 0.004, "step_s": 0.01}
MINIBATCHES = st.lists(st.sets(st.integers(0, ROWS - 1), max_size=8), min_size=1, max_size=20)


def stream(minibatches):
    ids = [np.array(sorted(one), np.int32) for one in minibatches]
    counts = np.array([len(one) for one in ids])
    degrees = np.ones(ROWS, np.int64)
    universe = Universe("halo", np.arange(ROWS), degrees, degrees, np.ones(ROWS, np.float32))
    return Stream(universe, np.concatenate(ids), np.concatenate(([0], np.cumsum(counts))), counts, counts)


def minimal(capacity, asked):
    setup = Setup(
        capacity_rows=capacity, universe=asked.universe, init="empty", seed=(0,), minibatches_per_epoch=4, future=asked
    )
    return make_cache("min", setup)


@settings(max_examples=200, deadline=None)
@given(MINIBATCHES, st.integers(1, 10))
def test_a_buffer_of_that_size_does_what_is_said(minibatches, capacity):
    """Step by step: held are the first rows until they are asked for, and what MIN keeps."""
    asked = stream(minibatches)
    found, cache = bound_of_trainer(minimal(capacity, asked), asked), minimal(capacity, asked)
    waiting = list(dict.fromkeys(chain.from_iterable(map(sorted, minibatches))))[:capacity]
    assert found.fill_rows == len(waiting)
    kept = set()
    for minibatch, ids in enumerate(minibatches):
        held = kept | set(waiting)
        assert len(held) <= capacity
        assert found.hit_rows[minibatch] == len(ids & held)
        assert found.missed_rows[minibatch] == len(ids - held)
        cache.access(asked.minibatch(minibatch))
        waiting = [row for row in waiting if row not in ids]
        kept = set(cache.contents().tolist()) - {-1}
        assert kept <= set(chain.from_iterable(minibatches[: minibatch + 1]))
        assert not kept & set(waiting)
    assert len(kept | set(waiting)) <= capacity


@settings(max_examples=100, deadline=None)
@given(MINIBATCHES, st.integers(1, 10))
def test_it_fetches_as_few_rows_as_min_that_starts_empty(minibatches, capacity):
    asked, cache = stream(minibatches), minimal(capacity, stream(minibatches))
    hits = sum(cache.access(asked.minibatch(m)).hit_rows for m in range(asked.minibatches))
    assert bound_of_trainer(minimal(capacity, asked), asked).fetched_rows == len(asked.ids) - hits


def test_first_uses_count_every_row_once():
    asked = stream([{0, 1}, {1}, {1, 2, 3}, set()])
    assert first_uses(asked).tolist() == [2, 0, 2, 0]


STARTS = ("degree", "empty", "random")


@pytest.fixture
def runs(write_trace, minibatch):
    """Every cache, as a table shows it beside MIN: under each start, with a policy that replaces and with none."""
    rng = np.random.default_rng(0)

    def trainer(first):
        draw = lambda: sorted(set((first + 200 * rng.random(60) ** 2).astype(int).tolist()))  # noqa: E731
        return [[minibatch(draw(), TIMES) for _ in range(8)] for _ in range(3)]

    path = write_trace([trainer(200), trainer(0)], nodes_per_partition=200, halo=[range(200, 350), range(150)])
    twin = Twin.open(path, {"halo"})
    return [
        twin.simulate(agent, ahead=True, cache=cache, buffer=buffer, **start).row
        for buffer in ("10%", "100%")
        for cache in sorted(set(CACHES) - {"compulsory", "vip", "vip-demand"})  # this trace has no probabilities
        for start in ([{"init": init} for init in STARTS] if cache_class(cache).takes_init else [{}])
        for agent in (("never", "every:4") if cache_class(cache).managed else ("never",))
    ]


def test_no_policy_has_more_hits_with_as_few_rows(runs):
    for row in runs:
        assert row["fetched_rows"] >= row["min_fetched_rows"]
        assert row["hit_rows"] - row["replacement_rows"] <= row["min_hit_rows"]
        assert row["hit_rows"] <= row["min_hit_rows"] or row["fetched_rows"] > row["min_fetched_rows"]
    filled = [row for row in runs if row["fill_rows"] and not row["replacement_rows"]]
    assert any(row["hit_rows"] > row["remote_rows"] - row["min_fetched_rows"] for row in filled)  # the fault
