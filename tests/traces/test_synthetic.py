"""Synthetic traces: the statistics of the captured one, at other moments and sizes."""

from pathlib import Path

import numpy as np
import pytest

from sim.config import RunConfig
from sim.counts.count import count
from sim.counts.policy_runs import make_caches
from sim.workload.load import load
from traces.placement import epoch_counts, place
from traces.reader import Trace
from traces.synthetic import fit

CAPTURED = Path(__file__).parents[2] / "traces" / "debian.parquet"


@pytest.fixture(scope="module")
def captured():
    return Trace(CAPTURED)


def hit_rates(trace, cache, buffers):
    inputs = load(trace, "halo")
    rates = []
    for buffer in buffers:
        config = RunConfig(trace="", trace_sha256="", agent="never", cache=cache, buffer=buffer, init="empty")
        hits = sum(
            count(kept, one.stream)[0].sum()
            for one, kept in zip(inputs, make_caches(inputs, trace.header, config), strict=True)
        )
        rates.append(hits / sum(one.stream.remote_rows.sum() for one in inputs))
    return np.array(rates)


def test_hit_rate_curves_are_those_of_the_captured_run(run_cli, captured, tmp_path):
    out = tmp_path / "like.parquet"
    code, printed, _ = run_cli("traces.synthetic", "--like", str(CAPTURED), "--out", str(out))
    assert code == 0
    assert "SYNTHETIC" in printed
    like = Trace(out)
    assert like.header.graph.kind == "synthetic"
    assert "drawn after debian.parquet (debian-undirected)" in like.header.graph.scale_note
    assert like.remote_rows == captured.remote_rows
    for cache in ("lru", "lfu", "min"):
        buffers = ["2%", "5%", "10%", "25%", "50%", "80%"]
        difference = hit_rates(like, cache, buffers) - hit_rates(captured, cache, buffers)
        assert np.abs(difference).max() < 0.02, cache
    for mine, theirs in zip(load(like, "halo"), load(captured, "halo"), strict=True):
        assert mine.stream.universe.halo_rows == theirs.stream.universe.halo_rows
        assert mine.stream.halo_rows.sum() == theirs.stream.halo_rows.sum()
    profiles = [fit(trace, 0).regularity for trace in (like, captured)]
    assert profiles[0] == pytest.approx(profiles[1], abs=0.1)


def test_other_sizes(run_cli, captured, tmp_path):
    out = tmp_path / "large.parquet"
    sizes = ["--trainers", "6", "--scale", "2", "--epochs", "12"]
    assert run_cli("traces.synthetic", "--like", str(CAPTURED), "--out", str(out), *sizes)[0] == 0
    large = Trace(out)
    assert (large.header.trainers, large.header.epochs, large.header.partition.parts) == (6, 12, 6)
    rows = [sum(len(epoch.ids) for epoch in captured.epochs(rank)) for rank in range(4)]
    per_epoch = 2 * (sum(rows) + rows[0] + rows[1]) / 10
    assert large.remote_rows == pytest.approx(12 * per_epoch, rel=0.02)
    assert "2 times its nodes, 6 trainers" in large.header.notice


def test_the_same_seed_gives_the_same_trace(run_cli, tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        options = ["--like", str(CAPTURED), "--epochs", "1", "--trainers", "2", "--seed", seed]
        run_cli("traces.synthetic", *options, "--out", str(tmp_path / name))
    a, b, c = (Trace(tmp_path / name).ids(0, 0) for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_one_trainer_has_nothing_remote(run_cli, tmp_path):
    code, _, error = run_cli(
        "traces.synthetic", "--like", str(CAPTURED), "--out", str(tmp_path / "x"), "--trainers", "1"
    )
    assert code == 2
    assert "--trainers 1: give at least 2" in error


def test_counts_of_epochs_add_up_and_regular_ones_are_even():
    counts = np.array([0, 1, 7, 40, 23])
    for regular in (True, False):
        found = epoch_counts(counts, np.full(5, regular), 5, 8, np.random.default_rng(0))
        assert found.sum(axis=0).tolist() == counts.tolist()
        assert found.max() <= 8
        if regular:
            assert np.ptp(found, axis=0).max() <= 1


def test_a_node_is_in_a_minibatch_once():
    counts = np.array([3, 0, 8, 1], np.int32)
    nodes, offsets = place(counts, 8, np.random.default_rng(0))
    minibatches = np.split(nodes, offsets[1:-1])
    assert all((np.diff(one) > 0).all() for one in minibatches)
    assert np.bincount(nodes, minlength=4).tolist() == counts.tolist()


@pytest.mark.parametrize("universe", ["halo", "remote"])
def test_streamed_from_the_file_gives_the_same(captured, universe):
    whole, streamed = load(captured, universe, streamed=False), load(captured, universe, streamed=True)
    for one, other in zip(whole, streamed, strict=True):
        assert np.array_equal(one.owner_rows, other.owner_rows)
        for name in ("ids", "offsets", "remote_rows", "halo_rows"):
            assert np.array_equal(getattr(one.stream, name), getattr(other.stream, name)), name
        for minibatch in (0, 19, 20, 199, 7):
            assert np.array_equal(one.stream.minibatch(minibatch), other.stream.minibatch(minibatch))
        assert np.array_equal(one.head(40).stream.minibatch(39), other.head(40).stream.minibatch(39))
