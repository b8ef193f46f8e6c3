"""Sweeps over runs that are sampled offline: sampled once, shared by caches and links, drawn by batch and fanout."""

import json
from pathlib import Path

import polars as pl
import pytest

from sim import Twin, figures
from sim.sweeps import leaderboard
from traces.reader import Trace

DEBIAN = Path(__file__).parents[3] / "traces" / "debian.parquet"


@pytest.fixture(scope="module")
def arguments(graph_dir, tmp_path_factory):
    """A sweep of 8 samplings of the small graph, with another machine for each of two partitions."""
    folder = tmp_path_factory.mktemp("sampled")
    lists = ["--parts", "2 3", "--batches", "100 200", "--fanouts", "4,4 2,3,4", "--caches", "lru vip"]
    given = ["--graph", str(graph_dir), "--like", str(DEBIAN), "--epochs", "2", "--agents", "none never"]
    return [*given, *lists, "--universes", "remote", "--out", str(folder / "sweep"), "--workers", "1"]


@pytest.fixture(scope="module")
def swept(arguments):
    """The folder of its results."""
    import sys

    from sim.sweeps.command import app
    from traces.errors import run_command

    before, sys.argv = sys.argv, ["sim.sweep", *arguments]
    try:
        with pytest.raises(SystemExit) as ended:
            run_command(app)
    finally:
        sys.argv = before
    assert not ended.value.code
    return Path(arguments[arguments.index("--out") + 1])


def test_every_combination_is_sampled_once_and_found_again(swept, arguments, run_cli):
    files = {path: path.stat().st_mtime_ns for path in (swept / "sampled").iterdir()}
    assert len(files) == 8
    headers = [Trace(path).header for path in files]
    asked = {(one.partition.parts, one.training.batch_size, one.training.fanout) for one in headers}
    assert len(asked) == 8
    code, out, err = run_cli("sim.sweep", *arguments, "--json")
    assert code == 0, err
    assert json.loads(out)["done"] == json.loads(out)["runs"] == 8 * 3
    assert {path: path.stat().st_mtime_ns for path in (swept / "sampled").iterdir()} == files


def test_its_runs_are_those_of_single_runs(swept):
    table = leaderboard.read(swept)
    [row] = table.filter(parts=3, batch=100, fanout="2,3,4", cache="lru", agent="never").to_dicts()
    twin = Twin.open(swept / "sampled" / row["trace"], {"remote"}, like=DEBIAN)
    run = twin.simulate("never", cache="lru", universe="remote")
    assert run.config.id == row["run"]
    assert {name: row[name] for name in ("epoch_s_mean", "fetched_rows", "hit_rate_remote")} == {
        name: run.row[name] for name in ("epoch_s_mean", "fetched_rows", "hit_rate_remote")
    }
    assert row["extrapolated"] == twin.extrapolated != ""
    assert row["epoch_fetched_bytes"] == row["fetched_rows"] * 400 / 2


def test_the_report_shows_what_was_asked_for_and_draws_it(swept, run_cli, tmp_path):
    code, out, _ = run_cli("sim.report", str(swept), "--html", str(tmp_path / "page.html"), "--top", "50")
    assert code == 0
    for word in (
        "batch",
        "fanout",
        "parts",
        "8 of 8 sampled traces",
        "EXTRAPOLATED",
        "TIMES PREDICTED",
        "SAMPLED offline",
    ):
        assert word in out
    page = (tmp_path / "page.html").read_text()
    assert "Batch sizes and fanouts (2 machines, 1 trainers each)" in page
    assert "Batch sizes and fanouts (3 machines, 1 trainers each)" in page


def test_the_best_policy_of_each_is_drawn():
    import matplotlib.pyplot as plt

    board = pl.DataFrame(
        {
            "batch": [100, 100, 100, 200], "fanout": ["4,4", "4,4", "2,3,4", "4,4"],
            "cache": ["lru", "vip", "lru", "min"], "agent": ["never"] * 4, "buffer_rows": [5] * 4,
            "epoch_s_mean": [3.0, 2.0, 5.0, 1.0], "epoch_fetched_bytes": [1e6, 2e6, 3e6, 1e6],
            "bound": [False, False, False, True],
        }
    )  # fmt: skip
    best = figures.best_of_samplings(board, "epoch_s_mean")
    assert sorted(zip(best["fanout"], best["name"], strict=True)) == [("2,3,4", "lru"), ("4,4", "vip")]
    _, axis = plt.subplots()
    figures.samplings(board, axis, "epoch_fetched_bytes")
    assert {text.get_text() for text in axis.texts} == {"1\nlru", "3\nlru"}
    assert [label.get_text() for label in axis.get_yticklabels()] == ["4,4", "2,3,4"]
    plt.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batches", "100", "--trace", str(DEBIAN)], "--batches needs --graph or --part-config"),
        (["--epochs", "2", "--trace", str(DEBIAN)], "--epochs is for runs that are sampled"),
        (["--graph", "g"], "say what things cost with one of --like CAPTURE and --cost FILE"),
        (["--graph", "g", "--like", "l", "--cost", "c"], "one of --like CAPTURE and --cost FILE"),
        (["--graph", "g", "--like", "l"], "--graph needs --parts"),
        (["--graph", "g", "--part-config", "p", "--like", "l"], "give either --graph or --part-config"),
        (["--part-config", "p", "--parts", "2", "--like", "l"], "--parts and --part-config"),
        (["--graph", "g", "--parts", "two", "--like", "l"], "--parts two: must be whole numbers"),
        (["--graph", "g", "--parts", "2", "--fanouts", "a", "--like", "l"], "--fanout 'a': write numbers"),
    ],
)
def test_what_cannot_be_is_one_line(run_cli, tmp_path, options, message):
    code, _, err = run_cli("sim.sweep", *options, "--out", str(tmp_path / "out"))
    assert (code, err.count("\n")) == (2, 1), err
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_samples_nothing(arguments, run_cli, tmp_path):
    elsewhere = [*arguments[: arguments.index("--out")], "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    code, out, _ = run_cli("sim.sweep", *elsewhere)
    assert code == 0
    assert json.loads(out) == {"samplings": 8, "combinations": 8 * 2 * 2}
    assert not (tmp_path / "out").exists()
