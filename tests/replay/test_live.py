"""Live runs on a real cluster: their results, and what their own simulations say of them."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from replay.comparison import compare
from traces.reader import Trace


@pytest.fixture(scope="module")
def from_command_line(graph_dir: Path, part_config: Path, tmp_path_factory) -> tuple[Path, str]:
    """A whole run with all rows checked, two trainers a machine, and what it printed."""
    folder = tmp_path_factory.mktemp("live") / "run"
    cluster = ["--graph", str(graph_dir), "--local", "2", "--partitions", str(part_config.parent), "--trainers", "2"]
    policy = ["--agent", "every:2", "--cache", "score:alpha=.2,period=2", "--buffer", "20%", "--check"]
    training = ["--model", "GAT", "--fanout", "4,4", "--batch", "60", "--epochs", "2", "--evaluate-every", "1"]
    command = [sys.executable, "-m", "replay.live", *cluster, *policy, *training, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout + done.stderr


def test_the_command_shows_every_epoch_and_says_how_well_the_model_does(from_command_line) -> None:
    _, printed = from_command_line
    for shown in ("loss", "hits", "fetched rows", "stall", "step", "decisions", "accuracy", "replay.compare"):
        assert shown in printed


def test_every_row_was_its_owners(from_command_line) -> None:
    folder, _ = from_command_line
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["checked_rows"] == Trace(folder / "trace.parquet").steps()["input_nodes"].sum() > 0
    assert summary["wrong_rows"] == 0


def test_results_are_the_simulators_tables(from_command_line) -> None:
    folder, _ = from_command_line
    config = json.loads((folder / "config.json").read_text())
    assert (config["agent"], config["cache"], config["buffer"]) == ("every:2", "score:alpha=.2,period=2", "20%")
    minibatches = pl.read_parquet(folder / "minibatches.parquet")
    trace = Trace(folder / "trace.parquet")
    assert len(minibatches) == trace.header.trainers * trace.minibatches == 4 * 20
    assert minibatches["hit_rows"].to_list() == trace.steps()["hit_rows"].to_list()
    assert (minibatches["loss"] > 0).all()
    epochs = pl.read_parquet(folder / "epochs.parquet")
    assert epochs["epoch"].to_list() == [0, 1]
    assert epochs["loss"][1] < epochs["loss"][0]
    assert epochs["val"].null_count() == 0
    decisions = pl.read_parquet(folder / "decisions.parquet")
    assert set(decisions["rank"]) == {0, 1, 2, 3}
    assert decisions["stall_s"].max() > 0  # policies see the times of their windows


def test_its_simulation_decides_the_same_and_hits_the_same_rows(from_command_line) -> None:
    folder, _ = from_command_line
    comparison = compare(folder)
    assert comparison.decided_again
    assert comparison.differences == []
    assert comparison.live_hits > 0
    assert comparison.simulated_fetched_rows == comparison.live_fetched_rows


@pytest.fixture(scope="module")
def with_and_without(live_run, tmp_path_factory):
    """The same training with a demand cache and without any buffer."""
    folder = tmp_path_factory.mktemp("losses")
    buffered = live_run(folder / "lru", "never", cache="lru", buffer="60%", init="empty", universe="remote")
    return buffered, live_run(folder / "pipeline", "pipeline")


def test_a_buffer_changes_no_loss(with_and_without) -> None:
    """On two machines with one trainer each, the same seeds mean the same samples, so the losses are equal."""
    buffered, plain = (finished.tables["minibatches"] for finished in with_and_without)
    assert buffered["hit_rows"].sum() > 0 == plain["hit_rows"].sum()
    assert buffered["remote_rows"].to_list() == plain["remote_rows"].to_list()
    assert buffered["loss"].to_list() == plain["loss"].to_list()


def test_a_demand_cache_and_no_buffer_agree_with_their_simulations(with_and_without) -> None:
    for finished in with_and_without:
        assert compare(finished.folder).differences == []
