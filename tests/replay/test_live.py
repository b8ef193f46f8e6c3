"""Live runs on a real cluster: their results, and what their own simulations say of them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import replay as replay_package
from replay.comparison import compare
from sim.config import RunConfig
from sim.workload.capacity import largest_block_bytes
from traces.cluster.local import LocalCluster, run_local
from traces.cluster.partition import partition
from traces.graphs.graph import Graph
from traces.reader import Trace

OWN_SCRIPT = Path(__file__).with_name("own_script.py")


@pytest.fixture(scope="module")
def from_command_line(graph_dir: Path, part_config: Path, tmp_path_factory) -> tuple[Path, str]:
    """A whole run with all rows checked, two trainers a machine, and what it printed."""
    folder = tmp_path_factory.mktemp("live") / "run"
    cluster = ["--graph", str(graph_dir), "--local", "2", "--partitions", str(part_config.parent), "--trainers", "2"]
    policy = ["--agent", "every:2", "--cache", "score:alpha=.2,period=2", "--buffer", "20%", "--check"]
    training = ["--model", "GAT", "--fanout", "4,4", "--batch", "60", "--epochs", "2", "--evaluate-every", "1"]
    command = [sys.executable, "-m", "replay.live", *cluster, *policy, *training, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
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


def test_times_of_a_checked_run_are_not_compared(from_command_line, run_cli) -> None:
    folder, _ = from_command_line
    assert run_cli("replay.compare", str(folder))[0] == 0  # counts can be
    code, _, err = run_cli("replay.compare", str(folder), "--fitted-on", "traces/debian.parquet")
    assert code == 2
    assert f"{folder}: ran with --check" in err.replace("\n", "")


def test_times_of_half_a_run_are_not_compared(from_command_line, tmp_path, run_cli) -> None:
    half = shutil.copytree(from_command_line[0], tmp_path / "half", ignore=shutil.ignore_patterns("summary.json"))
    code, _, err = run_cli("replay.compare", str(half), "--fitted-on", "traces/debian.parquet")
    assert code == 2
    assert "holds no live run" in err
    assert "summary.json" in err


def test_a_live_run_has_a_page(from_command_line, tmp_path, run_cli) -> None:
    folder, _ = from_command_line
    code, printed, _ = run_cli("sim.report", str(folder), "--html", str(tmp_path / "live.html"))
    assert code == 0
    assert "loss last epoch" in printed
    page = (tmp_path / "live.html").read_text()
    assert "(measured)" in page

    assert re.search(r"[\d,]{4,} rows were compared with their owners\S+: 0 were wrong", page)
    assert "python -m replay.live --graph" in page
    assert "python -m replay.compare" in page


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
    lru = {"cache": "lru", "buffer": "60%", "init": "empty", "universe": "remote"}
    buffered = live_run(folder / "lru", "never", depth=2, **lru)
    return buffered, live_run(folder / "pipeline", "pipeline")


def test_a_buffer_changes_no_loss(with_and_without) -> None:
    """On two machines with one trainer each, the same seeds mean the same samples, so the losses are equal."""
    buffered, plain = (finished.tables["minibatches"] for finished in with_and_without)
    assert buffered["hit_rows"].sum() > 0 == plain["hit_rows"].sum()
    assert buffered["remote_rows"].to_list() == plain["remote_rows"].to_list()
    assert buffered["loss"].to_list() == plain["loss"].to_list()


@pytest.fixture(scope="module")
def looking_ahead(live_run, tmp_path_factory):
    """The same training that samples four minibatches ahead, every row checked."""
    folder = tmp_path_factory.mktemp("ahead") / "run"
    return live_run(folder, "never", cache="lookahead:4", buffer="30%", universe="remote", check=True)


def test_sampling_ahead_changes_no_minibatch_and_no_loss(looking_ahead, with_and_without) -> None:
    ahead, plain = (one.tables["minibatches"] for one in (looking_ahead, with_and_without[1]))
    assert ahead["hit_rows"].sum() > 0
    assert ahead["remote_rows"].to_list() == plain["remote_rows"].to_list()
    assert ahead["loss"].to_list() == plain["loss"].to_list()


def test_what_is_sampled_ahead_hits_as_its_simulation_does(looking_ahead) -> None:
    compared = compare(looking_ahead.folder)
    assert compared.differences == []
    assert compared.live_hits > 0
    assert compared.live_fetched_rows == compared.simulated_fetched_rows
    assert json.loads((looking_ahead.folder / "summary.json").read_text())["wrong_rows"] == 0


def test_what_is_sampled_ahead_takes_no_more_memory_than_its_bound(looking_ahead, with_and_without) -> None:
    assert 0 < looking_ahead.summary["sampled_ahead_bytes"] <= 4 * largest_block_bytes(60, (4, 4))
    assert "sampled_ahead_bytes" not in with_and_without[0].summary


def test_minibatches_are_prepared_as_far_ahead_as_the_configuration_says(with_and_without) -> None:
    """With a depth of 1, none is begun before the trainer has turned to the one before it."""
    early = []
    for finished, depth in zip(with_and_without, (2, 1), strict=True):
        trace = Trace(finished.folder / "trace.parquet")
        assert trace.header.training.depth == depth
        steps = {name: values.to_numpy().reshape(2, -1) for name, values in trace.steps().to_dict().items()}
        early.append(int((steps["prepare_start_s"][:, 1:] < steps["start_s"][:, :-1]).sum()))
    assert early[0] > 0 == early[1]


def test_a_demand_cache_and_no_buffer_agree_with_their_simulations(with_and_without) -> None:
    for finished in with_and_without:
        assert compare(finished.folder).differences == []


def test_the_loader_in_a_script_of_ones_own(with_and_without, part_config: Path, tmp_path: Path) -> None:
    """replay/README.md's lines, on float32, float16 and int32 features at once, every row checked."""
    policy = tmp_path / "best.json"
    config = RunConfig(trace="", trace_sha256="", agent="every:2", cache="score:alpha=.2,period=2", buffer="30%")
    policy.write_text(config.model_dump_json())
    trace = with_and_without[1].folder / "trace.parquet"
    arguments = {"policy": str(policy), "trace": str(trace)}
    cluster = LocalCluster(parts=2, timeout_s=600)
    run = run_local(cluster, part_config, f"{OWN_SCRIPT}:main", arguments, tmp_path / "run")
    for value in run.values:
        assert value["dtypes"] == {"feat": "torch.float32", "half": "torch.float16", "codes": "torch.int32"}
        assert value["checked_rows"] == value["fetched_rows"] > 0
        assert value["hit_rows"] > 0
        assert value["decisions"] == 15  # none after the last of two epochs of 8 minibatches


def test_the_readme_shows_that_script() -> None:
    readme = (Path(replay_package.__file__).parent / "README.md").read_text()
    shown = readme.partition("```python\n")[2].partition("```")[0]
    script = {line.strip() for line in OWN_SCRIPT.read_text().splitlines()}
    assert {line.strip() for line in shown.splitlines()} - script == set()
    assert len(shown.splitlines()) > 10


def test_several_labels_a_node(graph_dir: Path, live_run, tmp_path: Path) -> None:
    """Each node has its community's label, and one that is shared by half of the communities."""
    graph = Graph.load(graph_dir)
    labels = np.zeros((graph.num_nodes, graph.classes + 1), np.uint8)
    labels[np.arange(graph.num_nodes), graph.labels] = 1
    labels[:, -1] = graph.labels % 2
    many = replace(graph, name="many", labels=labels, classes=graph.classes + 1, features=labels.astype(np.float32))
    many.save(tmp_path / "many")
    parts = partition(tmp_path / "many", 2, tmp_path / "parts")
    capture = {"graph_dir": tmp_path / "many", "part_config": parts, "evaluate_every": 2, "epochs": 4}
    finished = live_run(tmp_path / "run", "random:.5", cache="score:period=1", buffer="10%", init="empty", window=2,
                        capture=capture)  # fmt: skip
    losses = finished.tables["epochs"]["loss"]
    assert losses[3] < losses[0]
    assert finished.tables["epochs"]["val"].null_count() == 2
    assert 0.8 < finished.summary["score_test"] <= 1.0
    comparison = compare(finished.folder)
    assert comparison.differences == []
    assert comparison.live_hits > 0
