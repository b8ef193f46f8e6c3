"""The published rule whole, start, gate and buffer, under the settings that its code ships, against its naive twin.

Read in the public repositories of Rudder and MassiveGNN: Rudder's example configuration (alpha .05, period 1, 5 % of
the halo, empty at first), the example of both (alpha .005, period 32, 25 %), and the defaults of both command lines
(alpha .05, period 25, 50 %, filled by degree). Here all of these are combined with each other.
"""

from itertools import product

import numpy as np
import pytest
import twins

from agents.policy import RunFacts
from agents.policy_driver import PolicyDriver
from agents.registry import resolve
from sim.caches.cache import Setup, initial_ids
from sim.caches.registry import make_cache
from sim.workload.stream import Stream, Universe

ROWS, MINIBATCHES, SIZE = 240, 100, 24
ALPHAS, PERIODS, SHARES = (0.05, 0.005), (1, 25, 32), (0.05, 0.25, 0.5)
STARTS = ("empty", "degree-global", "random")
SETTINGS = list(product(ALPHAS, PERIODS, SHARES))


@pytest.fixture(scope="module")
def asked():
    """Minibatches of rows that are popular by their degree in the whole graph, more or less, and drift."""
    random = np.random.default_rng(0)
    degrees, local_degrees = random.integers(1, 60, ROWS), random.integers(1, 9, ROWS)
    universe = Universe("halo", np.arange(ROWS) * 3, degrees, local_degrees, None)
    weights = degrees * random.random(ROWS)
    drawn = []
    for minibatch in range(MINIBATCHES):
        now = np.roll(weights, minibatch // 10)
        drawn.append(np.sort(random.choice(ROWS, SIZE, replace=False, p=now / now.sum())).astype(np.int32))
    counts = np.full(MINIBATCHES, SIZE)
    return Stream(universe, np.concatenate(drawn), np.arange(MINIBATCHES + 1) * SIZE, counts, counts)


def gates(period):
    """Each published gate that goes with a period, and the minibatches in which the published code replaces."""
    everywhere = np.arange(MINIBATCHES)
    found = {
        "always": everywhere > 0,
        "rudder-every:1": everywhere % 2 == 1,
        f"rudder-every:{period}": (everywhere + 1) % (period + 1) == 0,
        f"massivegnn:{period}": ((everywhere + 1) % period == 0) & (everywhere > 0),
    }
    return {gate: set(np.flatnonzero(replaced).tolist()) for gate, replaced in found.items()}


def driver(gate, spec, capacity):
    facts = RunFacts(
        graph="drawn", synthetic=True, nodes=1000, edges=9000, feature_bytes=4, partitions=2, trainers=2, rank=0,
        local_nodes=500, halo_nodes=ROWS, batch_size=10, fanout=(10, 25), epochs=1, minibatches=MINIBATCHES, cache=spec,
        universe="halo", capacity_rows=capacity, window=1,
    )  # fmt: skip
    return PolicyDriver(resolve(gate).make(), facts, 0)


@pytest.mark.parametrize(("alpha", "period", "share"), SETTINGS)
def test_every_published_setting_does_what_its_twin_does(asked, alpha, period, share):
    spec, capacity = f"score-public:alpha={alpha},period={period}", int(share * ROWS)
    for start, (gate, replaced) in product(STARTS, gates(period).items()):
        setup = at_first(start, asked.universe, capacity)
        cache, asking = make_cache(spec, setup), driver(gate, spec, capacity)
        twin = twins.PublicScore(capacity, first(start, setup), ROWS, alpha, period)
        exchanged = 0
        for minibatch in range(MINIBATCHES):
            ids = asked.minibatch(minibatch)
            access = cache.access(ids, asking.take(minibatch))
            hits = twin.serve(ids.tolist(), minibatch in replaced, set(access.inserted_ids.tolist()))
            where = f"{gate}, {start} at first, minibatch {minibatch}"
            assert ids[access.hit_slots >= 0].tolist() == hits, where
            assert access.replacement_rows == twin.fetched, where
            assert set(cache.contents().tolist()) - {-1} == twin.held, where
            exchanged += access.replacement_rows
            seen = asking.after(
                0,
                minibatch,
                cache,
                remote_rows=SIZE,
                halo_rows=SIZE,
                hit_rows=len(hits),
                replacement_rows=access.replacement_rows,
            )
            if seen is not None:
                asking.answer(asking.policy.decide(seen))
        assert exchanged or not replaced, f"{gate}, {start} at first"


def at_first(start, universe, capacity):
    return Setup(
        capacity_rows=capacity, universe=universe, init=start, seed=(3,), minibatches_per_epoch=50, future=None
    )


def first(start, setup):
    """What the published code fills its buffer with: nothing, the rows of highest degree, or drawn ones."""
    degrees, capacity = setup.universe.degrees.tolist(), setup.capacity_rows
    if start == "degree-global":
        return sorted(range(ROWS), key=lambda row: -degrees[row])[:capacity]
    return [] if start == "empty" else initial_ids(setup).tolist()


def test_the_published_start_is_by_degree_in_the_whole_graph(asked):
    held, by_local_degree = (
        make_cache("static", at_first(start, asked.universe, 40)).contents() for start in ("degree-global", "degree")
    )
    degrees = asked.universe.degrees
    assert held.tolist() == sorted(range(ROWS), key=lambda row: -degrees[row])[:40]
    assert degrees[held].sum() > degrees[by_local_degree].sum()
