"""A sweep over several settings, worked out by hand: each is named, drawn, and held against itself."""

import polars as pl
import pytest

from sim.config import RunConfig
from sim.reports.leaderboard_view import LeaderboardView, setting_text, text_of
from sim.reports.page.sweep import page
from sim.sweeps.store import Store

CONGESTED = '{"congestion":[{"start_s":4.0,"factor":0.25}]}'


@pytest.fixture
def folder(tmp_path):
    """Two buffers of one cache, and baselines, in a steady network and in a congested one, where all takes longer."""
    rows = []
    for scenario, slow in (("", 1.0), (CONGESTED, 10.0)):
        for agent, buffer, epoch_s, size in (
            ("none", "25%", 10.0, 0), ("pipeline", "25%", 8.0, 0), ("never", "25%", 6.0, 25), ("never", "50%", 4.0, 50),
        ):  # fmt: skip
            config = RunConfig(trace="t.parquet", trace_sha256="t", agent=agent, buffer=buffer, scenario=scenario)
            times = {"epoch_s_mean": epoch_s * slow, "hit_rate_remote": 0.5, "remote_rows": 100, "error": None}
            counts = {"buffer_bytes": size * 10**6, "buffer_rows": size, "fetched_rows": 90, "notice": ""}
            decided = {"decisions": 0, "replacements": 0, "usable_answers": 0}
            least = {"min_fetched_rows": 60 if size else None, "min_hit_rows": 40 if size else None}
            rows.append({"run": config.id} | config.model_dump() | times | counts | least | decided)
    with Store(tmp_path).writing() as store:
        store.append(rows)
    return tmp_path


def view_of(folder, **options):
    usual = {"where": [], "groups": [], "by": "epoch_s_mean", "top": 99, "pareto": False}
    return LeaderboardView.open(folder, **usual | options)


def test_what_a_setting_differs_in_is_a_column(folder):
    lines = view_of(folder).lines()
    assert [line["scenario"] for line in lines if line["buffer"] == "50%"] == ["", "congestion start_s=4.0 factor=0.25"]
    assert [line["vs_none"] for line in lines if line["buffer"] == "50%"] == ["-60.0%", "-60.0%"]
    assert [line["vs_none"] for line in lines if line["agent"] == "none"] == ["+0.0%", "+0.0%"]


def test_a_front_is_one_of_each_setting(folder):
    front = view_of(folder, pareto=True).selected
    assert front.group_by("scenario").len()["len"].to_list() == [3, 3]


@pytest.fixture
def view(folder):
    return view_of(folder)


def test_the_page_draws_every_setting_by_itself(view, tmp_path):
    made = page(view, tmp_path / "page.html")
    titles = [section.title for section in made.sections]
    for words in ("nothing goes wrong", "congestion start_s=4.0 factor=0.25"):
        assert f"t.parquet: what a byte buys ({words})" in titles
    assert "t.parquet: policies by setting" in titles
    assert titles.count("t.parquet: what to keep (halo)") == 1  # a scenario changes no count
    names = [section.picture.name for section in made.sections if section.picture]
    assert len(set(names)) == len(names)
    assert not any("Pareto front of time" in line for line in made.summary)


def test_every_point_has_its_own_baseline_line(view, monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr("sim.reports.page.sweep.epoch_times", lambda table, axis: drawn.append(table))
    page(view, tmp_path / "page.html")
    assert [table.filter(agent="none")["epoch_s_mean"].to_list() for table in drawn] == [[10.0], [100.0]]


def test_values_in_words():
    row = {
        "link_bytes_per_s": 12.5e6,
        "depth": None,
        "scenario": "",
        "cluster": '{"cores": 2, "host": [{"name": "a"}]}',
    }
    assert setting_text(row, list(row)) == (
        "links 100 Mbit/s, depth by policy, nothing goes wrong, cluster cores=2, host name=a"
    )
    assert text_of("trainers_per_host", None) == "as captured"


def test_traces_of_one_name_are_not_repetitions(folder):
    config = RunConfig(trace="t.parquet", trace_sha256="other", agent="none")
    table = pl.read_parquet(folder / "parts" / "*.parquet")
    other = table.filter(agent="none", scenario="").with_columns(
        run=pl.lit(config.id), trace_sha256=pl.lit("other"), epoch_s_mean=pl.lit(30.0)
    )
    with Store(folder).writing() as store:
        store.append(other.to_dicts())
    board = view_of(folder).board.filter(agent="none", scenario="")
    assert sorted(board["epoch_s_mean"]) == [10.0, 30.0]
