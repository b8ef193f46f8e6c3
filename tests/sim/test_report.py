"""Leaderboards worked out by hand."""

import polars as pl
import pytest

from sim.config import RunConfig
from sim.sweeps import leaderboard
from sim.sweeps.store import Store
from traces.errors import InputError


@pytest.fixture
def folder(tmp_path):
    """Four configurations: two baselines, one of three seeds, one that is larger and slower; and a failure."""
    runs = [
        ("none", "10%", 0, 10.0, 0), ("pipeline", "10%", 0, 8.0, 0),
        ("always", "10%", 0, 5.0, 100), ("always", "10%", 1, 6.0, 100), ("always", "10%", 2, 7.0, 100),
        ("never", "20%", 0, 6.5, 200),
    ]  # fmt: skip
    rows = []
    for agent, buffer, seed, epoch_s, size in runs:
        config = RunConfig(trace="t", trace_sha256="t", agent=agent, buffer=buffer, seed=seed)
        result = {"epoch_s_mean": epoch_s, "buffer_bytes": size, "buffer_rows": size, "fetched_rows": 30, "error": None}
        notice = {"notice": "SYNTHETIC: by hand", "min_fetched_rows": 20 if size else None, "hit_rate_remote": 0.5}
        rows.append({"run": config.id} | config.model_dump() | result | notice)
    failed = RunConfig(trace="t", trace_sha256="t", agent="every:3")
    rows.append({"run": failed.id} | failed.model_dump() | {"error": "InputError: no"})
    with Store(tmp_path).writing() as store:
        store.append(rows[:2])
        store.append(rows[2:])
    return tmp_path


def test_runs_are_read_against_the_baselines(folder):
    table = leaderboard.read(folder)
    always = table.filter(agent="always", seed=0).row(0, named=True)
    assert (always["vs_none"], always["vs_pipeline"]) == (pytest.approx(-0.5), pytest.approx(-0.375))
    assert always["fetched_over_min"] == 1.5
    assert table.filter(agent="every:3")["vs_none"].to_list() == [None]


def test_seeds_are_repetitions_with_a_confidence_interval(folder):
    board = leaderboard.leaderboard(leaderboard.read(folder))
    assert board["agent"].to_list() == ["always", "never", "pipeline", "none"]
    assert board["seeds"].to_list() == [3, 1, 1, 1]
    assert board["epoch_s_mean"].to_list() == [6.0, 6.5, 8.0, 10.0]
    # the spread of 5, 6, 7 is 1; Student's t for two degrees of freedom at 97.5 % is 4.3027
    assert board["epoch_s_mean_interval"].to_list() == [pytest.approx(4.3027 / 3**0.5, abs=1e-4), None, None, None]


def test_the_pareto_front_has_what_none_betters(folder):
    front = leaderboard.pareto(leaderboard.leaderboard(leaderboard.read(folder)))
    assert front["agent"].to_list() == ["pipeline", "always"]


def test_conditions(folder):
    table = leaderboard.read(folder)
    assert set(leaderboard.where(table, ["epoch_s_mean<=6.5", "agent!=never"])["seed"]) == {0, 1}
    assert leaderboard.where(table, ["buffer = 20%"])["agent"].to_list() == ["never"]
    for condition, message in (
        ("agent", "write a column"),
        ("agnt=x", "there is no such column"),
        ("seed=one", "'one' is none"),
    ):
        with pytest.raises(InputError, match=message):
            leaderboard.where(table, [condition])


def test_the_best_of_every_group(folder):
    board = leaderboard.leaderboard(leaderboard.read(folder))
    assert leaderboard.best_of(board, ["buffer"], 1)["agent"].to_list() == ["always", "never"]


def test_the_command_says_what_is_synthetic_and_exports(folder, run_cli, tmp_path):
    csv, markdown = tmp_path / "board.csv", tmp_path / "board.md"
    code, printed, _ = run_cli("sim.report", str(folder), "--csv", str(csv), "--markdown", str(markdown), "--top", "2")
    assert code == 0
    assert printed.startswith("SYNTHETIC: by hand\n")
    assert "1 runs failed, the first with: InputError: no" in printed
    assert pl.read_csv(csv, comment_prefix="#")["agent"].to_list() == ["always", "never"]
    assert csv.read_text().startswith("# SYNTHETIC: by hand\n")
    assert "| 6 ± 2.484 |" in markdown.read_text()
    assert markdown.read_text().startswith("**SYNTHETIC: by hand**\n")


def test_no_sweep_is_one_clear_error(run_cli, tmp_path):
    code, _, error = run_cli("sim.report", str(tmp_path))
    assert code == 2
    assert "no results of a sweep" in error
