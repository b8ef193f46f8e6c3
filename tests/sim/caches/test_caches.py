"""What no twin covers: the family as a whole, the static sets, the bounds, and the rules that the docstrings state."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from streams import REPLACE, run, setup, skewed, stream, universe

from agents.policy import Decision
from sim.caches.cache import degree_order
from sim.caches.registry import CACHES, cache_class, make_cache
from sim.workload.stream import Stream
from traces.errors import InputError

ROWS, CAPACITY = 300, 40
BOUNDS = ("min", "static-opt")


@pytest.fixture
def trace():
    random = np.random.default_rng(5)
    drifting = skewed(40, 60, ROWS, drift=3)
    known = universe(ROWS, vip=random.random(ROWS, dtype=np.float32))
    return Stream(known, drifting.ids, drifting.offsets, drifting.remote_rows, drifting.halo_rows)


@pytest.mark.parametrize("name", CACHES)
def test_slots_that_it_names_are_its_contents(name, trace):
    cache = make_cache(name, setup(CAPACITY, trace, init="degree"))
    slots = cache.contents()
    for m in range(trace.minibatches):
        ids = trace.minibatch(m)
        cache.look_ahead(trace)
        access = cache.access(ids, REPLACE if m % 3 == 2 else None)
        hits = access.hit_slots >= 0
        assert access.hit_rows == hits.sum()
        np.testing.assert_array_equal(slots[access.hit_slots[hits]], ids[hits])
        fetched_beside = np.setdiff1d(access.inserted_ids, ids[~hits])
        # The published code fetches what was missed once more.
        assert access.replacement_rows == len(access.inserted_ids if name == "score-public" else fetched_beside)
        slots[access.inserted_slots] = access.inserted_ids
        np.testing.assert_array_equal(slots, cache.contents())
        assert cache.occupied_rows == np.count_nonzero(slots >= 0)
        assert len(slots) == cache.capacity_rows


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_says_whether_a_live_run_can_have_it(name, trace):
    try:
        cache = make_cache(name, setup(CAPACITY, trace, future=False))
    except InputError:
        assert not cache_class(name).live
    else:
        assert cache_class(name).live == (cache.capacity_rows == CAPACITY)


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_says_whether_it_starts_as_it_is_told(name, trace):
    starts = [make_cache(name, setup(CAPACITY, trace, init=init)).contents() for init in ("empty", "degree", "random")]
    if cache_class(name).takes_init:
        assert len({tuple(held.tolist()) for held in starts}) == 3
    else:
        assert all(np.array_equal(held, starts[0]) for held in starts)


@pytest.mark.parametrize("name", CACHES)
def test_forks_and_seeds_repeat_a_run(name, trace):
    def end(cache, start):
        accesses = [cache.access(trace.minibatch(m), REPLACE) for m in range(start, trace.minibatches)]
        return [a.hit_rows for a in accesses], cache.contents().tolist()

    cache, same = (make_cache(name, setup(CAPACITY, trace, init="random", seed=(3, 1))) for _ in range(2))
    for m in range(20):
        cache.access(trace.minibatch(m), REPLACE)
        same.access(trace.minibatch(m), REPLACE)
    fork = cache.fork()
    expected = end(cache, 20)
    assert end(fork, 20) == expected
    assert end(same, 20) == expected


@pytest.mark.parametrize("name", CACHES)
def test_a_fork_shares_tables_and_nothing_that_changes(name, trace):
    cache = make_cache(name, setup(CAPACITY, trace))
    fork = cache.fork()
    for field, value in vars(cache).items():
        if isinstance(value, np.ndarray):
            assert (getattr(fork, field) is value) == (not value.flags.writeable), field


@pytest.mark.parametrize("name", CACHES)
def test_serves_an_empty_minibatch_and_a_capacity_of_one(name):
    trace = stream([[], [0, 1], [], [1, 2], [1]], 3, vip=np.ones(3, np.float32))
    cache = make_cache(name, setup(1, trace, init="degree"))
    hits, fetched = run(cache, trace, replace=lambda m: True)
    assert 0 <= hits <= 5
    assert fetched >= 3 - cache.contents().tolist().count(-1)


@pytest.mark.parametrize("name", [name for name in CACHES if not cache_class(name).managed])
def test_a_buffer_that_gets_full_in_the_middle_of_a_minibatch_gives_no_slot_twice(name):
    """CLOCK's hand took the last row of the universe for what stood in a slot that was just filled."""
    minibatches = [[0, 1, 12, 23], [0, 1, 2, 3, 12, 23], [0, 1, 2, 3, 4, 5], [0, 5, 6, 7, 8, 23]]
    short = stream(minibatches, 24, vip=np.linspace(1, 0.1, 24, dtype=np.float32))
    cache = make_cache(name, setup(7, short))
    slots = cache.contents()
    for m in range(short.minibatches):
        cache.look_ahead(short)
        access = cache.access(short.minibatch(m))
        assert len(set(access.inserted_slots.tolist())) == len(access.inserted_slots)
        slots[access.inserted_slots] = access.inserted_ids
        np.testing.assert_array_equal(slots, cache.contents())


@pytest.mark.parametrize("name", [n for n in CACHES if cache_class(n).managed])
def test_a_managed_buffer_changes_only_when_told(name, trace):
    cache = make_cache(name, setup(CAPACITY, trace, init="degree"))
    before = cache.contents()
    run(cache, trace)
    np.testing.assert_array_equal(cache.contents(), before)
    cache.access(trace.minibatch(0), Decision(replace=False))
    np.testing.assert_array_equal(cache.contents(), before)


def test_share_is_the_part_of_the_stale_rows_that_goes(trace):
    cache = make_cache("score:alpha=.05,period=2", setup(CAPACITY, trace, init="degree"))
    for m in range(12):
        cache.access(trace.minibatch(m))
    stale, before = cache.stale_rows, set(cache.contents().tolist())
    assert stale > 10
    half = cache.fork()
    half.access(trace.minibatch(0)[:0], Decision(replace=True, share=0.5))
    cache.access(trace.minibatch(0)[:0], Decision(replace=True, share=1.0))
    gone = [len(before - set(c.contents().tolist())) for c in (half, cache)]
    assert 0 < gone[0] <= -(-(stale + 1) // 2) < gone[1]


def test_the_published_threshold_is_rounded_to_nothing(trace):
    long = make_cache("score-public:alpha=.05,period=149", setup(CAPACITY, stream([[0]], ROWS), init="degree"))
    for _ in range(400):
        long.access(np.empty(0, np.int32))
    assert long.stale_rows == 0
    assert make_cache("score:alpha=.05,period=149", setup(CAPACITY, trace)).stale_rows == 0


def test_static_sets_hold_the_best_of_their_ranking(trace):
    counts = np.bincount(trace.ids, minlength=ROWS)
    sets = {
        "degree": set(degree_order(trace.universe)[:CAPACITY].tolist()),
        "vip": set(np.argsort(-trace.universe.vip)[:CAPACITY].tolist()),
    }
    for name, best in sets.items():
        assert set(make_cache(name, setup(CAPACITY, trace)).contents().tolist()) == best
    hits, _ = run(make_cache("static-opt", setup(CAPACITY, trace)), trace)
    assert hits == np.sort(counts)[-CAPACITY:].sum()


@pytest.mark.parametrize(("spec", "turns"), [("presc:2", [20]), ("vip-sampled", [10, 20, 30, 40])])
def test_learned_sets_turn_at_the_end_of_epochs_to_what_was_asked_for_most(spec, turns, trace):
    cache = make_cache(spec, setup(CAPACITY, trace, epoch=10))
    for m in range(trace.minibatches):
        access = cache.access(trace.minibatch(m))
        assert bool(len(access.inserted_ids)) <= (m + 1 in turns)
        if m + 1 in turns:
            counts = np.bincount(trace.ids[: trace.offsets[m + 1]], minlength=ROWS)
            assert counts[cache.contents()].sum() == np.sort(counts)[-CAPACITY:].sum()


def test_on_demand_the_likeliest_rows_cost_no_more_than_as_a_static_set(trace):
    static, on_demand = (make_cache(name, setup(CAPACITY, trace)) for name in ("vip", "vip-demand"))
    assert run(on_demand, trace)[1] <= run(static, trace)[1]
    assert set(on_demand.contents().tolist()) == set(static.contents().tolist())


def test_compulsory_fetches_every_row_once(trace):
    cache = make_cache("compulsory", setup(1, trace))
    _, fetched = run(cache, trace)
    assert fetched == len(np.unique(trace.ids)) == cache.occupied_rows


@pytest.mark.parametrize("beyond", ["vip", "frequency"])
def test_looking_ahead_over_the_whole_run_is_min_and_further_is_better(beyond, trace):
    near, far, whole = (
        run(make_cache(f"lookahead:{h},beyond={beyond},epochs=across", setup(150, trace)), trace)[1]
        for h in (1, 4, 1000)
    )
    assert near > far > whole
    assert whole == run(make_cache("min", setup(150, trace)), trace)[1]


@pytest.mark.parametrize("init", ["degree", "degree-global", "random"])
def test_looking_ahead_starts_empty_whatever_init_says(init, trace):
    fetched = run(make_cache("lookahead:1000,epochs=across", setup(150, trace, init=init)), trace)[1]
    assert fetched == run(make_cache("min", setup(150, trace, init=init)), trace)[1]


def test_without_a_horizon_it_keeps_the_likeliest(trace):
    assert run(make_cache("lookahead:0", setup(150, trace)), trace) == run(
        make_cache("vip-demand", setup(150, trace)), trace
    )


def test_a_horizon_of_bytes_is_as_many_minibatches_as_fit(trace):
    given = replace(setup(150, trace), block_bytes=1_000_000)
    assert make_cache("lookahead:memory=8.5MB", given).horizon == 8
    with pytest.raises(InputError, match="all neighbours has no largest block"):
        make_cache("lookahead:memory=8MB", setup(150, trace))


def test_rows_are_kept_by_belady_inside_the_horizon(trace):
    """By the definition: after each minibatch, of the rows at hand those whose next known use is soonest."""
    capacity, horizon, held = 150, 3, set()
    cache = make_cache(f"lookahead:{horizon},epochs=across", setup(capacity, trace))
    for m in range(trace.minibatches):
        cache.look_ahead(trace)
        cache.access(trace.minibatch(m))
        soon = {}
        for later in range(min(m + horizon, trace.minibatches - 1), m, -1):
            soon |= dict.fromkeys(trace.minibatch(later).tolist(), later)
        at_hand = held | set(trace.minibatch(m).tolist())
        held = {row for row in cache.contents().tolist() if row >= 0}
        wanted = sorted(soon[row] for row in at_hand if row in soon)[:capacity]
        assert sorted(soon[row] for row in held if row in soon) == wanted
        assert held <= at_hand


def test_looking_ahead_uses_nothing_beyond_the_horizon(trace):
    shown = trace.offsets[20]
    cut = Stream(trace.universe, trace.ids[:shown], trace.offsets[:21], trace.remote_rows[:20], trace.halo_rows[:20])
    spec = "lookahead:5,epochs=across"
    whole, blind = (make_cache(spec, setup(CAPACITY, t, init="degree")) for t in (trace, cut))
    for m in range(15):
        whole.look_ahead(trace)
        blind.look_ahead(cut)
        first, second = whole.access(trace.minibatch(m)), blind.access(trace.minibatch(m))
        assert first.inserted_ids.tolist() == second.inserted_ids.tolist()
        np.testing.assert_array_equal(whole.contents(), blind.contents())


@pytest.mark.parametrize("beyond", ["vip", "frequency"])
def test_what_was_foreseen_of_an_epoch_that_is_broken_off_is_forgotten(beyond, trace):
    """From then on it does what one does that was told nothing, and slots stay as they are."""
    cache = make_cache(f"lookahead:5,beyond={beyond},epochs=across", setup(150, trace))
    for m in range(7):
        cache.look_ahead(trace)
        cache.access(trace.minibatch(m))
    held = cache.contents()
    cache.forget()
    assert cache.foreseen == 7
    np.testing.assert_array_equal(cache.contents(), held)
    cache.horizon = 0
    places = cache.places if beyond == "vip" else np.bincount(trace.ids[: trace.offsets[7]], minlength=ROWS) * -1
    for m in range(20, 23):
        ids = trace.minibatch(m)
        hit = np.isin(ids, held)
        np.testing.assert_array_equal(cache.access(ids).hit_slots >= 0, hit)
        if beyond == "frequency":
            places[ids] -= 1
        at_hand, now = np.union1d(held[held >= 0], ids), cache.contents()
        now = now[now >= 0]
        assert sorted(places[now]) == sorted(places[at_hand])[: len(now)]
        assert len(now) == min(len(at_hand), 150)
        held = cache.contents()


def test_no_live_run_knows_the_order_of_the_next_epoch(trace):
    with pytest.raises(InputError, match="epochs=across: no live loader"):
        make_cache("lookahead:4,epochs=across", setup(2, trace, future=False))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("lru:mode=atomic", "batch"),
        ("score:alpha=1", "alpha"),
        ("score:period=0", "period"),
        ("score-public:alpha=0", "alpha"),
        ("window:0", "minibatches"),
        ("frequency:.5", "half_life"),
        ("presc:0", "epochs"),
        ("lookahead:-1", "horizon"),
        ("lookahead:4,epochs=never", "across and within"),
        ("lookahead:4,beyond=hope", "vip and frequency"),
        ("lookahead:memory=8", "64MB"),
        ("vip", "vip"),
        ("vip-demand", "vip"),
        ("nothing", "there is no cache"),
    ],
)
def test_says_which_option_is_wrong(spec, message):
    with pytest.raises(InputError, match=message):
        make_cache(spec, setup(2, stream([[0]], 4)))


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_need_the_future(name):
    with pytest.raises(InputError, match="future"):
        make_cache(name, setup(2, stream([[0]], 4), future=False))


@pytest.mark.parametrize("name", CACHES)
def test_says_what_it_keeps_and_where_it_is_from(name):
    kind = cache_class(name)
    assert 20 < len(kind.summary) < 100
    assert "\n" not in kind.summary
    assert kind.source


def test_the_registry_does_not_import_numba():
    code = "import sys, sim.caches; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_former_names_are_understood_and_todays_are_told():
    for former, name in (("likeliest", "vip-demand"), ("hindsight", "static-opt"), ("infinite", "compulsory")):
        assert cache_class(former) is cache_class(name)
        assert cache_class(former).__name__ in {"VIPDemand", "StaticOptimum", "Compulsory"}
    with pytest.raises(InputError, match=r"there is no cache 'likely'; there are .*compulsory.*static-opt.*vip-demand"):
        make_cache("likely", setup(2, stream([[0]], 4)))
