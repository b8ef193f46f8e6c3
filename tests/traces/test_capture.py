"""Captures of real DistDGL runs: what the trace says is true, and what a run that dies leaves is kept."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from traces.capture.launch import Capture, capture, fragments_of, recover
from traces.capture.nodes import inclusion_probability, remote_nodes
from traces.capture.options import parse_fanout
from traces.cluster.errors import ClusterError
from traces.cluster.local import LocalCluster
from traces.cluster.partition import read_facts
from traces.errors import InputError
from traces.graphs.graph import Graph
from traces.info import shape
from traces.output import writing
from traces.reader import Trace
from traces.sampling.csc import PartitionedGraph

DYING = Path(__file__).with_name("dying_worker.py")


@pytest.fixture
def plan(graph_dir: Path, part_config: Path):
    def make(**changes):
        options = {
            "graph_dir": graph_dir,
            "part_config": part_config,
            "cluster": LocalCluster(parts=2, link="1gbit", timeout_s=600),
            "fanout": (4, 4),
            "batch_size": 100,
            "epochs": 3,
        }
        return Capture(**options | changes)

    return make


@pytest.fixture(scope="module")
def captured(graph_dir: Path, part_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture from the command line, with its partitions found again."""
    out = tmp_path_factory.mktemp("capture") / "small.parquet"
    command = [sys.executable, "-m", "traces.capture", "--graph", str(graph_dir), "--parts", "2", "--link", "1gbit"]
    options = ["--partitions", str(part_config.parent), "--fanout", "4,4", "--batch", "100", "--epochs", "2"]
    done = subprocess.run(
        [*command, *options, "--overhead-epochs", "2", "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "2 epochs of 12 minibatches a trainer" in done.stdout
    return out


def test_the_header_says_what_ran(captured: Path, graph_dir: Path) -> None:
    header = Trace(captured).header
    assert header.complete
    assert (header.graph.name, header.graph.kind, header.trainers) == ("communities", "synthetic", 2)
    assert header.training.fanout == (4, 4)
    assert header.training.gradient_bytes == 4 * (2 * 100 * 64 + 64 + 2 * 64 * 8 + 8)
    assert header.cluster.link_bytes_per_s == 125e6
    assert header.command.startswith("python -m traces.capture --graph")
    assert header.overhead
    assert header.overhead.pairs >= 10
    assert header.overhead.recorder_share < 0.01


def test_every_minibatch_is_there_with_every_part_of_its_time(captured: Path) -> None:
    steps = Trace(captured).steps()
    assert len(steps) == 2 * 2 * 12
    assert steps["seeds"].to_list() == [100] * 48
    for name in ("sample_s", "fetch_s", "local_gather_s", "forward_s", "backward_s", "allreduce_s", "update_s"):
        assert (steps[name] > 0).all(), name
    parts = ("stall_s", "forward_s", "backward_s", "wait_s", "allreduce_s", "update_s")
    assert np.allclose(sum(steps[name] for name in parts), steps["step_s"], atol=1e-9)
    handed_over = steps["stall_s"] - steps["sample_s"] - steps["fetch_s"] - steps["label_s"] - steps["copy_s"]
    assert handed_over.min() >= 0
    assert handed_over.median() < 1e-3
    owners = np.stack(steps["owner_done_s"].to_list())
    assert (owners[np.arange(len(steps)), steps["rank"]] == 0).all()
    assert (owners.max(1) > 0).all()
    assert (owners.max(1) <= steps["fetch_s"].to_numpy() + 1e-6).all()


def test_somebody_is_the_slowest_in_every_step(captured: Path) -> None:
    """Waiting is told from the all-reduce by comparing clocks: in every step one trainer has not waited."""
    steps = Trace(captured).steps()
    shortest = steps.group_by("epoch", "minibatch").agg(pl.col("wait_s").min())
    assert shortest["wait_s"].to_list() == [0.0] * 24
    assert steps["wait_s"].max() > 0


def test_the_nodes_are_the_halo_of_the_partition(captured: Path, graph_dir: Path, part_config: Path) -> None:
    """Against the edges themselves: a set comprehension over all of them."""
    trace, graph, facts = Trace(captured), Graph.load(graph_dir), read_facts(part_config)
    new = {int(old): number for number, old in enumerate(facts.orig_nid())}
    offsets = trace.header.partition.offsets
    edges = [(new[int(s)], new[int(d)]) for s, d in zip(graph.src, graph.dst, strict=True)]
    for partition in range(2):
        own = range(offsets[partition], offsets[partition + 1])
        halo = {s for s, d in edges if d in own and s not in own}
        nodes = trace.nodes(partition)
        assert set(nodes.node_ids[nodes.local_degrees > 0].tolist()) == halo
        requested = np.unique(np.concatenate([epoch.ids for epoch in trace.epochs(partition)]))
        assert np.isin(requested, nodes.node_ids).mean() > 0.97


def test_a_run_that_is_sampled_offline_is_the_captured_one_but_for_its_draws(
    captured: Path, graph_dir: Path, part_config: Path, tmp_path: Path, run_cli
) -> None:
    """The same job: minibatches, remote nodes and probabilities are equal, what was drawn is so in distribution."""
    out = tmp_path / "sampled.parquet"
    given = ["--graph", str(graph_dir), "--parts", "2", "--partitions", str(part_config.parent), "--out", str(out)]
    options = ["--fanout", "4,4", "--batch", "100", "--epochs", "2", "--arrays", str(tmp_path / "arrays")]
    code, _, err = run_cli("traces.sample", *given, *options)
    assert code == 0, err
    drawn, real = Trace(out), Trace(captured)
    assert (drawn.header.graph, drawn.header.partition) == (real.header.graph, real.header.partition)
    assert drawn.header.minibatches_per_epoch == real.header.minibatches_per_epoch
    for partition in range(2):
        ours, theirs = drawn.nodes(partition), real.nodes(partition)
        for name in ("node_ids", "degrees", "local_degrees", "vip"):
            assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    ours, theirs = drawn.steps(), real.steps()
    assert ours["seeds"].to_list() == theirs["seeds"].to_list()
    for rank in range(2):
        full = (pl.col("seeds") == 100) & (pl.col("rank") == rank)
        for name in ("input_nodes", "local_nodes", "remote_rows", "sampled_edges"):
            a, b = (table.filter(full)[name].to_numpy() for table in (ours, theirs))
            error = np.sqrt((a.var() + b.var()) / len(a))
            assert abs(a.mean() - b.mean()) < 4 * error, (rank, name)
            assert error < 0.06 * b.mean(), (rank, name)
        halo = [shape(trace, rank).halo_share for trace in (drawn, real)]
        assert halo[0] == pytest.approx(halo[1], abs=0.03)


def test_inclusion_probability_by_hand() -> None:
    """A path a -> b -> c and d -> c; one seed c of two, two hops of one neighbour each."""
    graph = PartitionedGraph.of_edges(
        src=np.array([0, 1, 3]), dst=np.array([1, 2, 2]), offsets=np.array([0, 2, 4]), train=np.array([2, 3])
    )
    vip = inclusion_probability(graph, np.array([2, 3]), 1, (1, 1))
    # c and d are seeds half of the time; c samples b or d; b, when sampled, always samples a
    assert vip == pytest.approx([0.25, 0.25, 0.5, 1 - 0.5 * 0.75])
    zero, one = remote_nodes(graph, 1, 1, (1, 1))
    # node_split gives seed c to partition 0, which owns a and b: c itself and d are remote, and not in its halo
    assert (zero.node_ids.tolist(), zero.local_degrees.tolist()) == ([2, 3], [0, 0])
    assert zero.vip.tolist() == [1.0, 0.5]
    # partition 1's seed d has no neighbour; b is in its halo all the same
    assert (one.node_ids.tolist(), one.local_degrees.tolist(), one.degrees.tolist()) == ([1], [1], [1])


def test_all_neighbours_are_a_width_of_minus_one() -> None:
    """The graph of the test above; the seeds' hop samples all: c gets b and d, each as often as c is a seed."""
    graph = PartitionedGraph.of_edges(
        src=np.array([0, 1, 3]), dst=np.array([1, 2, 2]), offsets=np.array([0, 2, 4]), train=np.array([2, 3])
    )
    vip = inclusion_probability(graph, np.array([2, 3]), 1, parse_fanout("1,-1"))
    assert vip == pytest.approx([0.5, 0.5, 0.5, 1 - 0.5 * 0.5])


def test_a_trainer_that_dies_leaves_the_whole_epochs(plan, tmp_path: Path) -> None:
    out = tmp_path / "dying.parquet"
    with pytest.raises(ClusterError, match="the trainer's disk caught fire"):
        capture(plan(epochs=4, entry=f"{DYING}:main"), out)
    trace = Trace(out)
    assert not trace.header.complete
    assert trace.header.epochs == 2
    assert "INCOMPLETE: the captured run ended after 2 whole epochs" in trace.header.notice
    assert len(trace.epoch(1, 1).offsets) == 13
    assert [file.name for file in tmp_path.iterdir()] == ["dying.parquet"]


def test_a_capture_that_is_killed_can_be_recovered(
    graph_dir: Path, part_config: Path, tmp_path: Path, wait_until
) -> None:
    out = tmp_path / "killed.parquet"
    command = [sys.executable, "-m", "traces.capture", "--out", str(out)]
    options = ["--graph", str(graph_dir), "--parts", "2", "--partitions", str(part_config.parent), "--epochs", "500"]
    with subprocess.Popen([*command, *options, "--batch", "100", "--fanout", "4,4"], stderr=subprocess.PIPE) as killed:
        wait_until((fragments_of(out) / "rank1-epoch1.parquet").exists)
        os.kill(killed.pid, signal.SIGKILL)
    assert not out.exists()
    again = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "--recover" in again.stderr
    recovered = subprocess.run([*command, "--recover"], capture_output=True, text=True, check=False)
    assert recovered.returncode == 0, recovered.stderr
    assert Trace(out).header.epochs >= 2
    assert not Trace(out).header.complete
    assert [file.name for file in tmp_path.iterdir()] == ["killed.parquet"]


def test_a_disk_that_is_full_before_anything_is_recorded(plan, tmp_path: Path, monkeypatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("traces.nodes.Nodes.save", no_space)
    with pytest.raises(InputError, match=r"full\.parquet\.fragments: can't be written \(No space left on device\)$"):
        capture(plan(), tmp_path / "full.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("full", ["trace", "results"])
def test_on_a_full_disk_what_was_recorded_is_kept(full, plan, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "full.parquet"

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def keep(*_: object) -> None:
        if full == "results":
            with writing(tmp_path / "results"):
                no_space()

    with monkeypatch.context() as patched:
        if full == "trace":
            patched.setattr("traces.capture.launch.assemble", no_space)
        with pytest.raises(InputError) as refused:
            capture(plan(epochs=1), out, keep=keep)
    place = out if full == "trace" else tmp_path / "results"
    assert f"{place}: can't be written (No space left on device); what was recorded is kept" in str(refused.value)
    assert fragments_of(out).is_dir()
    assert recover(out).epochs == Trace(out).header.epochs == 1
    assert not fragments_of(out).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--graph is missing"),
        (["--graph", "nowhere"], "nowhere"),
        (["--recover"], "no interrupted capture"),
        (["--graph", "GRAPH", "--fanout", "ten"], "--fanout 'ten'"),
        (["--graph", "GRAPH", "--fanout", "10,0"], "fanout is"),
        (["--graph", "GRAPH", "--epochs", "0"], "epochs is 0"),
        (["--graph", "GRAPH", "--link", "fast"], "link rate 'fast'"),
        (["--graph", "GRAPH", "--form", "cloud"], "form 'cloud'"),
        (["--graph", "GRAPH", "--form", "loopback", "--link", "1gbit"], "1gbit"),
    ],
)
def test_options_that_cannot_be(options, message, graph_dir, part_config, tmp_path, run_cli) -> None:
    given = [str(graph_dir) if option == "GRAPH" else option for option in options]
    more = ["--parts", "2", "--partitions", str(part_config.parent), "--out", str(tmp_path / "x.parquet")]
    code, _, err = run_cli("traces.capture.__main__", *given, *more)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_plan_that_cannot_be_raises(plan) -> None:
    with pytest.raises(InputError, match="batch size is 0"):
        plan(batch_size=0)
