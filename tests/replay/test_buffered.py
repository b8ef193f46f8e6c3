"""What a buffered store pulls and hands out, over a feature store that notes what it is asked for."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
import pytest
import torch

import replay.buffered
from agents.policy import RunFacts
from agents.policy_driver import PolicyDriver
from agents.registry import resolve
from replay.buffered import BufferedStore
from replay.dispatch import ask_at_once
from sim.caches.cache import Setup
from sim.caches.registry import make_cache
from sim.workload.stream import Universe
from traces.capture.ahead import sampled_ahead
from traces.capture.fetch import FetchTimes

Tell = Callable[[str], None]

NODES, OWN, WIDTH, CAPACITY, MINIBATCHES = 600, 200, 3, 80, 12


class NotingStore:
    """Rows of `features`; `pulled` has the ids of every pull."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.features = tensors["feat"]
        self.pulled: list[Any] = []

    def empty(self, count: int) -> dict[str, Any]:
        return {"feat": np.empty((count, WIDTH), np.float32)}

    def pull(self, ids: Any, rows: dict[str, Any], at: Any, meanwhile: Tell = lambda name: None) -> FetchTimes:
        self.pulled.append(ids)
        meanwhile("feat")
        rows["feat"][at] = self.features[ids]
        return FetchTimes()


@pytest.mark.parametrize(
    "cache", ["score-public:alpha=.5,period=2", "score:alpha=.5,period=2", "lru", "vip-demand", "lookahead:3"]
)
def test_it_pulls_the_rows_that_it_counts_and_hands_out_the_owners(cache: str, monkeypatch) -> None:
    asked = NotingStore({"feat": np.random.default_rng(0).random((NODES, WIDTH)).astype(np.float32)})
    monkeypatch.setattr(replay.buffered, "DistStore", lambda tensors: asked)
    store, random = store_with(cache), np.random.default_rng(1)
    twice = hits = 0
    for _ in range(MINIBATCHES):
        ids = random.permutation(NODES)[: NODES // 2]
        rows, times = store.fetch(torch.from_numpy(ids))
        assert np.array_equal(rows["feat"].numpy(), asked.features[ids])
        assert len(asked.pulled[-1]) == len(ids) - times.hit_rows + times.replacement_rows
        twice += len(asked.pulled[-1]) - len(np.unique(asked.pulled[-1]))
        hits += times.hit_rows
    assert hits > 0
    assert (twice > 0) == cache.startswith("score-public")  # that fault of the published code is kept live


def minibatches(random: np.random.Generator, count: int) -> list[tuple[torch.Tensor, list[Any]]]:
    """Input nodes and no blocks, as a loader gives them."""
    return [(torch.from_numpy(random.permutation(NODES)[: NODES // 2]), []) for _ in range(count)]


def test_a_store_whose_cache_looks_ahead_is_told_of_minibatches_until_the_epoch_ends(monkeypatch) -> None:
    """Hits are those of the cache with the stream in hand; what waits to be fetched is counted; an epoch that is
    broken off leaves no knowledge behind."""
    asked = NotingStore({"feat": np.random.default_rng(0).random((NODES, WIDTH)).astype(np.float32)})
    monkeypatch.setattr(replay.buffered, "DistStore", lambda tensors: asked)
    store, random, told = store_with("lookahead:3"), np.random.default_rng(1), []
    monkeypatch.setattr(store, "foresee", lambda *args: (told.append(args), type(store).foresee(store, *args)))
    epoch = minibatches(random, MINIBATCHES)
    for number, (ids, _) in enumerate(sampled_ahead(epoch, store, itemgetter(0), itemgetter(1))):
        assert [one for one, _ in told] == [one for one, _ in epoch[: number + 4]]
        rows, _ = store.fetch(ids)
        assert np.array_equal(rows["feat"].numpy(), asked.features[ids])
    remote = [int((ids >= OWN).sum()) for ids, _ in epoch]
    assert store.peak_sampled_bytes == max(12 * sum(remote[m + 1 : m + 4]) for m in range(MINIBATCHES))

    broken, following = minibatches(random, 5), minibatches(random, 5)
    ids, _ = next(sampled_ahead(broken, store, itemgetter(0), itemgetter(1)))
    store.fetch(ids)
    for number, (ids, _) in enumerate(sampled_ahead(following, store, itemgetter(0), itemgetter(1))):
        assert ids is following[number][0]
        rows, _ = store.fetch(ids)
        assert np.array_equal(rows["feat"].numpy(), asked.features[ids])


def store_with(cache: str) -> BufferedStore:
    """Over a halo of random degrees; the buffer is empty at first, and replaced every 3 minibatches if at all."""
    random, remote = np.random.default_rng(2), np.arange(OWN, NODES)
    degrees = random.integers(1, 9, len(remote))
    universe = Universe("halo", remote, degrees, degrees, random.random(len(remote)).astype(np.float32))
    setup = Setup(
        capacity_rows=CAPACITY, universe=universe, init="empty", seed=(0,), minibatches_per_epoch=MINIBATCHES,
        future=None,
    )  # fmt: skip
    made = make_cache(cache, setup)
    facts = RunFacts(
        graph="g", synthetic=True, nodes=NODES, edges=0, feature_bytes=4 * WIDTH, partitions=2, trainers=2, rank=0,
        local_nodes=OWN, halo_nodes=len(remote), batch_size=9, fanout=(4,), epochs=1, minibatches=MINIBATCHES,
        cache=cache, universe="halo", capacity_rows=CAPACITY, window=1,
    )  # fmt: skip
    driver = PolicyDriver(resolve("every:3" if made.managed else "never").make(), facts, 0)
    return BufferedStore({}, (0, OWN), universe, made, driver, ask_at_once(driver, waits=False), MINIBATCHES)
