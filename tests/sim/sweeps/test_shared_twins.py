"""Traces that processes share: the same, in one copy, and gone afterwards."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from sim.runs.twin import Twin
from sim.sweeps import shared_twins
from sim.sweeps.shared_twins import SharedTwins
from sim.workload.load import load
from traces.errors import InputError
from traces.reader import Trace

OPTIONS = {"policy": "every:4", "cache": "score", "buffer": "10%"}


@pytest.fixture(scope="module")
def twin():
    return Twin.open(Path("traces/debian.parquet"), {"halo"}).head(1)


def test_a_trace_that_was_shared_is_the_same_trace(twin):
    with SharedTwins({"t": twin}) as shared:
        opened = pickle.loads(pickle.dumps(shared)).open()["t"]
    assert opened.simulate(**OPTIONS).row == twin.simulate(**OPTIONS).row
    for one, other in zip(opened.inputs["halo"], twin.inputs["halo"], strict=True):
        assert np.array_equal(one.stream.ids, other.stream.ids)
        for rank in (one.stream.universe.degree_rank, other.stream.universe.degree_rank):
            assert not rank.flags.writeable
        assert one.stream.ids.flags.writeable == other.stream.ids.flags.writeable


@pytest.mark.skipif(not psutil.LINUX, reason="only Linux says which pages are a process's own")
def test_who_opens_it_copies_nothing_and_changes_nothing_of_others(twin):
    ballast = replace(twin)
    ballast.numbers = np.arange(5_000_000)
    with SharedTwins({"t": ballast}) as shared:
        one, other = shared.open()["t"].numbers, shared.open()["t"].numbers
        assert one.sum() == other.sum() == ballast.numbers.sum()
        maps = [two for two in psutil.Process().memory_maps(grouped=False) if Path(two.path).suffix == ".traces"]
        assert len(maps) == 2
        assert sum(two.rss for two in maps) >= 2 * ballast.numbers.nbytes
        assert sum(two.private_dirty for two in maps) == 0
        one[:] = 0
        assert other.sum() == shared.open()["t"].numbers.sum() == ballast.numbers.sum()


def test_a_trace_too_large_for_memory_stays_in_its_own_file(twin):
    inputs = {"halo": load(Trace("traces/debian.parquet"), "halo", streamed=True)}
    streamed = replace(twin, inputs=inputs).head(1)
    with SharedTwins({"t": streamed}) as shared:
        assert shared.open()["t"].simulate(**OPTIONS).row == twin.simulate(**OPTIONS).row


def test_nothing_is_left(twin, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_twins.tempfile, "tempdir", str(tmp_path))
    with SharedTwins({"t": twin}):
        [path] = tmp_path.iterdir()
        assert path.stat().st_size > sum(one.stream.ids.nbytes for one in twin.inputs["halo"])
    assert not list(tmp_path.iterdir())


def test_where_it_cannot_be_written_is_said_and_nothing_is_left(twin, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_twins.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shared_twins.os, "fdopen", full)
    with pytest.raises(InputError, match=r"traces: can't be written \(No space left on device\)"):
        SharedTwins({"t": twin})
    assert not list(tmp_path.iterdir())
