"""The benchmark: records by checksum, ranks and intervals, and its page."""

import json

import numpy as np
import pytest

from sim.caches.registry import CACHES
from sim.verifier import entries
from sim.verifier.candidate import Candidate, Ours
from sim.verifier.cells import Cell, cells
from sim.verifier.evaluate import Measured
from sim.verifier.page import page
from sim.verifier.records import Record, Records
from sim.verifier.standings import standings

SOME = [Ours("static"), Ours("lru"), Ours("min"), Ours("frequency", "every:3")]


def record(label, factor, sha256="", refused="", noise=0.0):
    """Epochs that are `factor` times as long as DistDGL's, which differ."""
    none_s = (1.0, 2.0, 3.0, 4.0)
    rng = np.random.default_rng(len(label))
    measured = tuple(
        Measured(cell, tuple(factor * s * (1 + noise * rng.standard_normal()) for s in none_s), none_s, 20, 10, 0.5)
        for cell in cells(("a", "b"))
    )
    return Record(label, sha256, {"a": "1"}, () if refused else measured, refused)


def test_ranks_and_intervals_are_those_counted_by_hand():
    found = standings([record("lru", 0.8), record("fifo", 0.5), record("min", 0.4), record("x.py", 0.64, "abc")])
    assert [(one.record.label, one.place) for one in found] == [("min", None), ("fifo", 1), ("x.py", 2), ("lru", 3)]
    last = found[-1]
    assert last.speedup == pytest.approx(1.25)
    assert last.interval == pytest.approx((1.25, 1.25))  # as both are drawn together
    assert last.behind == pytest.approx(1 - 1.25 / 2)
    assert last.behind_interval == pytest.approx((0.375, 0.375))
    assert last.by_trace == pytest.approx({"a": 1.25, "b": 1.25})
    assert (last.fetched_over_min, last.hit_rate_remote) == (2.0, 0.5)
    assert not last.tied


def test_what_differs_by_chance_is_tied_and_intervals_hold_the_mean():
    noisy, other = record("lfu", 0.5, noise=0.2), record("sieve", 0.5, noise=0.2)
    first, second = standings([noisy, other])
    assert second.tied
    for one in (first, second):
        low, high = one.interval
        assert low < one.speedup < high
    assert standings([noisy, other]) == [first, second]


def test_every_cache_that_decides_alone_and_every_managed_one_is_an_entry():
    found = entries.entries()
    assert len(set(found)) == len(found)
    assert {one.cache.partition(":")[0] for one in found} == set(CACHES) - {entries.UNBOUNDED}


def test_what_has_a_record_is_not_run_again(trace, tmp_path, write, run_cli, monkeypatch):
    monkeypatch.setattr("sim.verifier.entries.entries", lambda: SOME)
    path = write(
        "from sim.caches.ranked import Ranked\nclass Mine(Ranked):\n    def rank(self, rows): return rows.accesses"
    )
    words = ["--trace", str(trace), "--out", str(tmp_path / "records"), "--workers", "1"]
    code, out, err = run_cli("sim.benchmark", str(path), *words, "--json", "--page", str(tmp_path / "page.md"))
    assert code == 0, err
    found = json.loads(out)
    assert [row[0] for row in found["rows"]].count("foresees") == 1
    assert sorted(row[1].partition(" (")[0] for row in found["rows"]) == [
        "candidate.py", "every:3 over frequency", "lru", "min", "static",
    ]  # fmt: skip
    assert "SYNTHETIC" in found["notices"][0]
    text = (tmp_path / "page.md").read_text()
    assert text.count("\n| ") == 6
    assert "SYNTHETIC" in text.splitlines()[2]
    files = {one: one.stat().st_mtime_ns for one in (tmp_path / "records").iterdir()}
    assert len(files) == 5
    same = write(path.read_text(), "other_name.py")
    code, again, _ = run_cli("sim.benchmark", str(same), *words, "--json")
    assert code == 0
    assert json.loads(again) == found
    assert {one: one.stat().st_mtime_ns for one in (tmp_path / "records").iterdir()} == files
    code, out, _ = run_cli("sim.benchmark", str(write("open('x')", "bad.py")), *words)
    assert code == 0
    assert "refused: bad.py" in out
    assert "PermissionError" in out


def test_a_record_that_is_none(trace, tmp_path, run_cli):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "x.json").write_text("{}")
    words = ["--trace", str(trace), "--out", str(tmp_path / "records")]
    code, _, err = run_cli("sim.benchmark", str(tmp_path / "none.py"), *words)
    assert code == 2
    assert "there is no file" in err


def test_a_page_of_nothing_but_refusals():
    text = page([], [record("x.py", 1, "abc", "time: slow")], [])
    assert "- `x.py (abc): time: slow`" in text


def test_records_differ_by_what_they_are_of(trace, tmp_path, write):
    records, path = Records(tmp_path, [trace]), write("x = 1")
    places = {
        records.place(one) for one in (*SOME, Candidate(path), Candidate(path, "frequency"), Candidate(f"{path}:A"))
    }
    assert len(places) == len(SOME) + 3
    assert Cell(trace="a") == Cell(trace="a", buffer="15%", scenario="steady", universe="remote")
