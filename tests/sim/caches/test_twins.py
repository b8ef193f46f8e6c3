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
from streams import setup, skewed, stream

from agents.policy import Decision
from sim.caches.cache import degree_order, initial_ids
from sim.caches.registry import CACHES, make_cache

ROWS = 24
MINIBATCH = st.lists(st.integers(0, ROWS - 1), max_size=12, unique=True).map(sorted)
INIT = st.sampled_from(["degree", "degree-global", "empty", "random"])
VIP = (np.random.default_rng(2).permutation(ROWS) // 2 / ROWS).astype(np.float32)  # each twice
EXAMPLES, LONGEST = 75, 40
STEPS = 10_000  # of all machines together


class Twins(RuleBasedStateMachine):
    """A cache, its twin, and the slots as a loader would keep them."""

    spec, steps = "", 0

    @initialize(capacity=st.integers(1, ROWS - 4), init=INIT)
    def start(self, capacity, init):
        self.begin(capacity, init, [[]])

    def begin(self, capacity, init, future):
        self.future = future
        self.setup = setup(capacity, stream(future, ROWS, VIP), init=init, epoch=4)
        self.cache = make_cache(self.spec, self.setup)
        self.twin = self.make_twin(capacity, [int(row) for row in initial_ids(self.setup)])
        self.slots = self.cache.contents()

    def ranks(self):
        order = degree_order(self.setup.universe)
        return {int(row): place for place, row in enumerate(order)}

    def check(self, ids, decision=None):
        type(self).steps += 1
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
        type(self).steps += 1


class Foreseen(Twins):
    """A cache that knows the future, which therefore is drawn at the start."""

    @initialize(capacity=st.integers(1, ROWS - 4), init=INIT, future=st.lists(MINIBATCH, min_size=30, max_size=30))
    def start(self, capacity, init, future):
        self.begin(capacity, init, future)
        self.served = 0

    def left(self):
        return self.served < len(self.future)

    @precondition(left)
    @rule()
    def minibatch(self):
        self.served += 1
        ids = self.future[self.served - 1]
        self.cache.look_ahead(self.setup.future)
        assert self.check(ids) == self.twin.serve(ids)

    @precondition(left)
    @rule()
    def fork_goes_its_own_way(self):
        fork = self.cache.fork()
        fork.look_ahead(self.setup.future)
        fork.access(np.array(self.future[self.served], np.int32))


class Minimal(Foreseen):
    """Of rows that are used again in the same minibatch, MIN may keep any."""

    @precondition(Foreseen.left)
    @rule()
    def minibatch(self):
        self.served += 1
        ids = self.future[self.served - 1]
        assert len(self.check(ids)) == len(self.twin.serve(ids))

    @invariant()
    @precondition(lambda self: hasattr(self, "cache"))
    def same_rows(self):
        np.testing.assert_array_equal(self.cache.contents(), self.slots)
        uses = [self.twin.next_use(row) for row in self.cache.contents().tolist() if row >= 0]
        assert sorted(use for use in uses if use is not None) == sorted(map(self.twin.next_use, self.twin.held))


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


def best(machine, capacity, key):
    """The twin of a set that never changes: the rows with the lowest keys, ties by degree."""
    ranks = machine.ranks()
    return twins.Static(capacity, range(ROWS), lambda row: (key(row), ranks[row]))


def drawn(capacity):
    order = np.random.default_rng((0,)).permutation(ROWS).tolist()
    return twins.Static(capacity, order, order.index)


def static_optimum(machine, capacity):
    asked = [row for ids in machine.future for row in ids]
    twin = best(machine, capacity, lambda row: -asked.count(row))
    twin.held &= set(asked)
    return twin


def likely(machine):
    ranks = machine.ranks()
    return lambda row, accesses: (-VIP[row], ranks[row])


def seldom(row, accesses):
    return -accesses


def presampled(turns):
    return lambda s, c, i: twins.Presampled(c, i, s.ranks(), turns)


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
TWINS = (
    *((spec, Twins, lambda s, c, i, twin=twin: twin(c, i)) for spec, twin in DEMAND.items()),
    *((f"{spec}:access", Access, lambda s, c, i, twin=twin: twin(c, i)) for spec, twin in DEMAND.items()),
    ("score:.3,3", Replaces, lambda s, c, i: twins.Score(c, i, s.ranks(), 0.3, 3)),
    ("score:.05,2", Replaces, lambda s, c, i: twins.Score(c, i, s.ranks(), 0.05, 2)),
    ("window:3", Replaces, lambda s, c, i: twins.Window(c, i, s.ranks(), 3)),
    ("frequency:1", Replaces, lambda s, c, i: twins.Frequency(c, i, s.ranks())),
    ("score-public:.5,3", Public, lambda s, c, i: twins.PublicScore(c, i, ROWS, 0.5, 3)),
    ("score-public:.05,149", Public, lambda s, c, i: twins.PublicScore(c, i, ROWS, 0.05, 149)),
    ("min", Minimal, lambda s, c, i: twins.MIN(c, s.future)),
    ("lookahead:1,epochs=across", Foreseen, lambda s, c, i: twins.LookAhead(c, s.future, 1, likely(s))),
    ("lookahead:4,epochs=across", Foreseen, lambda s, c, i: twins.LookAhead(c, s.future, 4, likely(s))),
    ("lookahead:6", Foreseen, lambda s, c, i: twins.LookAhead(c, s.future, 6, likely(s), epoch=4)),
    ("lookahead:3,beyond=frequency", Foreseen, lambda s, c, i: twins.LookAhead(c, s.future, 3, seldom, epoch=4)),
    ("vip-demand", Twins, lambda s, c, i: twins.VIPDemand(c, lambda row: (-VIP[row], s.ranks()[row]))),
    ("compulsory", Twins, lambda s, c, i: twins.Compulsory()),
    ("presc:2", Twins, presampled([8])),
    ("vip-sampled", Twins, presampled(range(4, LONGEST + 1, 4))),
    ("static", Twins, lambda s, c, i: twins.Static(c, i, i.index)),
    ("degree", Twins, lambda s, c, i: best(s, c, lambda row: 0)),
    ("vip", Twins, lambda s, c, i: best(s, c, lambda row: -VIP[row])),
    ("random", Twins, lambda s, c, i: drawn(c)),
    ("static-opt", Foreseen, lambda s, c, i: static_optimum(s, c)),
)
MACHINES = [type(spec, (kind,), {"spec": spec, "make_twin": make}) for spec, kind, make in TWINS]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.spec)
def test_kernel_does_what_its_twin_does(machine):
    machine.steps = 0
    while machine.steps < STEPS / len(MACHINES):  # how long the sequences are is up to chance
        run_state_machine_as_test(
            machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=LONGEST, deadline=None)
        )


def test_every_cache_has_a_twin():
    assert {machine.spec.split(":")[0] for machine in MACHINES} == set(CACHES)


@pytest.mark.parametrize("spec", ["score:.3,3", "window:3", "frequency:1"])
def test_replacement_does_what_its_twin_does_in_many_blocks(spec):
    """Large enough that a replacement looks at a part of the rows only, and must find out where that is not enough."""
    rows, capacity, random = 6_000, 2_500, np.random.default_rng(7)
    trace = skewed(24, 400, rows, drift=5)  # in float32, decayed counts are exact for so long
    given = setup(capacity, trace, init="degree")
    ranks = {int(row): place for place, row in enumerate(degree_order(given.universe))}
    initial = [int(row) for row in initial_ids(given)]
    make = {
        "score:.3,3": lambda: twins.Score(capacity, initial, ranks, 0.3, 3),
        "window:3": lambda: twins.Window(capacity, initial, ranks, 3),
        "frequency:1": lambda: twins.Frequency(capacity, initial, ranks),
    }
    cache, twin = make_cache(spec, given), make[spec]()
    for m in range(trace.minibatches):
        ids = trace.minibatch(m)
        decision = Decision(replace=bool(m % 5), share=float(random.choice([0.02, 0.3, 1.0])))
        access = cache.access(ids, decision)
        assert access.hit_rows == len(twin.serve(ids.tolist()))
        if decision.replace:
            assert access.replacement_rows == twin.replace(decision.share, "misses")
        assert set(cache.contents().tolist()) == twin.held
