"""MIN fetches as few rows as any policy can: by brute force over all of them."""

from functools import cache
from itertools import combinations

import pytest
import twins
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run, setup, stream

from sim.caches.registry import make_cache
from traces.errors import InputError

MINIBATCHES = st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=1, max_size=6)


def fewest_fetched(minibatches, capacity, rows):
    """Over all policies: whatever is held at first, and after each minibatch any set of rows that fits."""
    everything = [frozenset(c) for size in range(capacity + 1) for c in combinations(range(rows), size)]

    @cache
    def best(step, held):
        if step == len(minibatches):
            return 0
        asked = frozenset(minibatches[step])
        missed = asked - held
        return len(missed) + min(len(kept - held - asked) + best(step + 1, kept) for kept in everything)

    return min(len(held) + best(0, held) for held in everything)


@settings(max_examples=150, deadline=None)
@given(MINIBATCHES, st.integers(1, 3))
def test_no_policy_fetches_fewer_rows(minibatches, capacity):
    trace = stream(minibatches, 5)
    _, fetched = run(make_cache("min", setup(capacity, trace, init="degree")), trace)
    assert fetched == fewest_fetched(minibatches, capacity, 5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 23), max_size=12), min_size=1, max_size=40), st.integers(1, 16))
def test_has_the_hits_of_its_definition(minibatches, capacity):
    trace = stream(minibatches, 24)
    twin = twins.MIN(capacity, minibatches)
    minimal = make_cache("min", setup(capacity, trace))
    for m, asked in enumerate(minibatches):
        minimal = minimal.fork() if m % 5 == 4 else minimal
        assert minimal.access(trace.minibatch(m)).hit_rows == len(twin.serve(asked))


def test_needs_the_future():
    trace = stream([{0}], 2)
    with pytest.raises(InputError, match="bound for the simulator"):
        make_cache("min", setup(1, trace, future=False))


def test_refuses_another_stream_than_its_future():
    trace = stream([{0}, {1}], 2)
    minimal = make_cache("min", setup(1, trace))
    with pytest.raises(InputError, match="other rows"):
        minimal.access(trace.minibatch(1))
