"""Every kernel against its naive twin, minibatch by minibatch, with forks in between, over sequences that shrink."""

import hypothesis.strategies as st
import numpy as np
import pytest
import twins
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from streams import setup, stream

from agents.policy import Decision
from sim.caches import make_cache
from sim.caches.cache import degree_order, initial_ids

ROWS = 24
MINIBATCH = st.lists(st.integers(0, ROWS - 1), max_size=12, unique=True).map(sorted)
STEPS = {"taken": 0}


class Twins(RuleBasedStateMachine):
    """A cache, its twin, and the slots as a loader would keep them."""

    spec = ""

    @initialize(capacity=st.integers(1, ROWS - 4), init=st.sampled_from(["degree", "empty", "random"]))
    def start(self, capacity, init):
        self.setup = setup(capacity, stream([[]], ROWS), init=init)
        self.cache = make_cache(self.spec, self.setup)
        self.twin = self.make_twin(capacity, [int(row) for row in initial_ids(self.setup)])
        self.slots = self.cache.contents()

    def check(self, ids, decision=None):
        STEPS["taken"] += 1
        held = self.slots.copy()
        access = self.cache.access(np.array(ids, np.int32), decision)
        self.access = access
        hits = [row for row, slot in zip(ids, access.hit_slots, strict=True) if slot >= 0]
        assert access.hit_rows == len(hits)
        assert [held[slot] for slot in access.hit_slots if slot >= 0] == hits
        assert len(set(access.inserted_slots.tolist())) == len(access.inserted_slots)
        self.slots[access.inserted_slots] = access.inserted_ids
        return hits

    @rule(ids=MINIBATCH)
    def minibatch(self, ids):
        assert self.check(ids) == self.twin.serve(ids)

    @rule(ids=MINIBATCH)
    def fork_goes_its_own_way(self, ids):
        self.cache.fork().access(np.array(ids, np.int32), Decision(replace=True))

    @rule()
    def fork_takes_over(self):
        self.cache = self.cache.fork()

    @invariant()
    @precondition(lambda self: hasattr(self, "cache"))
    def same_rows(self):
        contents = self.cache.contents()
        np.testing.assert_array_equal(contents, self.slots)
        held = [row for row in contents.tolist() if row >= 0]
        assert set(held) == set(self.twin.held)
        assert len(set(held)) == len(held) == self.cache.occupied_rows


class Access(Twins):
    """In `mode=access` every id is a minibatch of its own."""

    @rule(ids=st.lists(st.integers(0, ROWS - 1), max_size=12))
    def minibatch(self, ids):
        hits = self.cache.access(np.array(ids, np.int32)).hit_slots >= 0
        assert hits.tolist() == [bool(self.twin.serve([row])) for row in ids]
        self.slots = self.cache.contents()
        STEPS["taken"] += 1


class Replaces(Twins):
    @rule(
        ids=MINIBATCH,
        share=st.sampled_from([0.1, 0.5, 1.0]),
        ranking=st.sampled_from(["misses", "recent", "degree"]),
    )
    def replacement(self, ids, share, ranking):
        decision = Decision(replace=True, share=share, ranking=ranking)
        assert self.check(ids, decision) == self.twin.serve(ids)
        assert self.access.replacement_rows == self.twin.replace(share, ranking)

    @invariant()
    @precondition(lambda self: hasattr(self, "cache"))
    def same_counts(self):
        assert self.cache.stale_rows == len(self.twin.stale())
        assert self.cache.candidate_rows == len(self.twin.seen - self.twin.held)

    def ranks(self):
        order = degree_order(self.setup.universe)
        return {int(row): place for place, row in enumerate(order)}


class Public(Twins):
    @rule(ids=MINIBATCH)
    def replacement(self, ids):
        assert self.check(ids, Decision(replace=True)) == self.twin.serve(ids, replace=True)
        assert self.access.replacement_rows == self.twin.fetched

    @invariant()
    @precondition(lambda self: hasattr(self, "cache"))
    def same_counts(self):
        assert self.cache.stale_rows == len(self.twin.stale())
        assert self.cache.candidate_rows == sum(misses > 0 for misses in self.twin.misses)


def demand(spec, twin, kind=Twins):
    return type(spec, (kind,), {"spec": spec, "make_twin": lambda self, capacity, initial: twin(capacity, initial)})


DEMAND = {
    "fifo": twins.FIFO,
    "lru": twins.LRU,
    "lfu": twins.LFU,
    "clock": twins.Clock,
    "sieve": twins.Sieve,
    "s3fifo": twins.S3FIFO,
    "arc": twins.ARC,
    "tinylfu": twins.WTinyLFU,
}
MACHINES = [
    *(demand(spec, twin) for spec, twin in DEMAND.items()),
    *(demand(f"{spec}:access", twin, Access) for spec, twin in DEMAND.items()),
    *(
        type(spec, (kind,), {"spec": spec, "make_twin": make})
        for spec, kind, make in (
            ("score:.3,3", Replaces, lambda s, c, i: twins.Score(c, i, s.ranks(), 0.3, 3)),
            ("score:.05,2", Replaces, lambda s, c, i: twins.Score(c, i, s.ranks(), 0.05, 2)),
            ("window:3", Replaces, lambda s, c, i: twins.Window(c, i, s.ranks(), 3)),
            ("frequency:1", Replaces, lambda s, c, i: twins.Frequency(c, i, s.ranks())),
            ("score-public:.5,3", Public, lambda s, c, i: twins.PublicScore(c, i, ROWS, 0.5, 3)),
            ("score-public:.05,149", Public, lambda s, c, i: twins.PublicScore(c, i, ROWS, 0.05, 149)),
        )
    ),
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.spec)
def test_kernel_does_what_its_twin_does(machine):
    run_state_machine_as_test(machine, settings=settings(max_examples=75, stateful_step_count=40, deadline=None))


def test_ten_thousand_steps_were_taken():
    assert STEPS["taken"] >= 10_000
