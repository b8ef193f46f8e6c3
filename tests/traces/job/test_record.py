"""Users' scripts, recorded as they are: by the prefix, by our launcher, and from inside."""

from pathlib import Path

import numpy as np
import pytest

from traces.cluster.errors import ClusterError
from traces.cluster.local import LocalCluster
from traces.errors import InputError
from traces.job.launch import capture_job
from traces.job.merge import Provenance
from traces.reader import Trace
from traces.schema import TIMES


def test_the_prefix_records_training_and_leaves_evaluation_out(recorded_job: Path) -> None:
    trace = Trace(recorded_job)
    header = trace.header
    assert header.complete
    assert header.epochs == 2
    assert header.trainer_minibatches == (12, 13)  # they joined, as one trains on less
    assert header.minibatches_per_epoch == 13
    assert [one.name for one in header.node_types] == ["_N"]
    [feature] = header.node_types[0].features  # and none of the layers that evaluation writes
    assert (feature.name, feature.dtype, feature.row_bytes, feature.trainable) == ("features", "float32", 96, False)
    assert header.training.fanout == (4, 4)
    assert header.graph.kind == "synthetic"
    assert header.training.gradient_bytes == 4 * (24 * 16 * 2 + 16 + 16 * 8 * 2 + 8)
    for rank, count in enumerate(header.trainer_minibatches):
        for epoch in trace.epochs(rank):
            assert len(epoch.offsets) == count + 1
    assert not recorded_job.with_name("t.parquet.fragments").exists()


def test_the_times_of_a_step_add_up(recorded_job: Path) -> None:
    trace = Trace(recorded_job)
    for rank in range(2):
        for epoch in trace.epochs(rank):
            times = {name: epoch.columns[name] for name in TIMES}
            assert all(np.isfinite(one).all() for one in times.values())
            stalls = times["sample_s"] + times["fetch_s"] + times["label_s"] + times["copy_s"]
            np.testing.assert_allclose(times["stall_s"], stalls, atol=1e-9)
            rest = ("stall_s", "forward_s", "backward_s", "wait_s", "allreduce_s", "update_s")
            np.testing.assert_allclose(sum(times[name] for name in rest), times["step_s"], atol=1e-9)
            assert (times["local_gather_s"] <= times["fetch_s"]).all()
            assert (epoch.owner_done_s[:, 1 - rank] <= times["fetch_s"]).all()
            assert (epoch.owner_done_s[:, 1 - rank] > 0).all()
            assert (np.diff(times["start_s"]) > 0).all()


def test_halo_degrees_and_probabilities_come_from_the_partitions_files(recorded_job: Path, homogeneous: Path) -> None:
    import dgl

    trace = Trace(recorded_job)
    for part in range(2):
        nodes, own = trace.nodes(part), range(*trace.header.partition.offsets[part : part + 2])
        graph = dgl.load_graphs(str(homogeneous.parent / f"part{part}" / "graph.dgl"))[0][0]
        inner, (src, dst) = graph.ndata["inner_node"].bool(), graph.edges()
        halo = graph.ndata[dgl.NID][src[~inner[src] & inner[dst]]].unique().numpy()
        np.testing.assert_array_equal(halo, nodes.node_ids[nodes.local_degrees > 0])
        assert not np.isin(nodes.node_ids, own).any()
        assert (nodes.degrees >= nodes.local_degrees).all()
        assert nodes.vip is not None
        # how often nodes were asked for is what the probabilities add up to
        asked = np.concatenate([trace.ids(part, epoch) for epoch in range(2)])
        expected = float(nodes.vip.sum()) * 2 * trace.header.minibatches_of(part)
        assert 0.85 < np.isin(asked, nodes.node_ids).sum() / expected < 1.15


def test_node_types_with_widths_dtypes_and_what_training_writes(recorded_types: Path) -> None:
    trace = Trace(recorded_types)
    of_types = trace.header
    ids = trace.nodes(1).node_ids  # of authors, whose rows training writes, none
    buffered = [one for one in of_types.node_types if one.name != "author"]
    assert np.any([(ids >= low) & (ids < high) for one in buffered for low, high in one.ranges], axis=0).all()
    found = {one.name: one.features for one in of_types.node_types}
    assert {name: [(f.dtype, f.row_bytes, f.trainable) for f in features] for name, features in found.items()} == {
        "author": [("float32", 48, True)],
        "inst": [("float16", 16, False)],
        "paper": [("float32", 128, False)],
    }
    assert of_types.minibatches_per_epoch == 10  # a loader an epoch, and an evaluation in the middle of each
    assert of_types.epochs == 2
    assert of_types.cluster.link_bytes_per_s == 25e6
    assert of_types.cluster.form in ("namespaces", "userns")
    assert of_types.training.samplers == 1


def test_rows_are_counted_by_type(recorded_types: Path) -> None:
    trace = Trace(recorded_types)
    asked = np.concatenate([trace.ids(rank, epoch) for rank in range(2) for epoch in range(2)])
    total_bytes = 0
    for one in trace.header.node_types:
        rows = sum(int(((asked >= low) & (asked < high)).sum()) for low, high in one.ranges)
        assert one.remote_rows == rows > 0
        total_bytes += rows * sum(feature.row_bytes for feature in one.features)
    assert trace.header.fetched_row_bytes * len(asked) == pytest.approx(total_bytes)


CASES = {
    "nodes": (4, 96),
    "drop_last": (3, 96),
    "dtypes": (4, 96 + 6 + 24 + 3),
    "links": (4, 96),
    "edges": (4, 96),
}


@pytest.fixture(scope="session")
def cases(homogeneous: Path, scripts: Path, tmp_path_factory: pytest.TempPathFactory):
    """What the trainers of `scripts/cases.py` really asked for, by rank, and the folder of the traces."""
    folder = tmp_path_factory.mktemp("cases")
    cluster = LocalCluster(parts=2, trainers_per_machine=2, timeout_s=600)
    given = {"out": str(folder), "part_config": str(homogeneous)}
    run = cluster.run(homogeneous, f"{scripts / 'cases.py'}:main", given, folder / "logs")
    return folder, sorted(run.values, key=lambda value: value["rank"])


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_loader_is_recorded_to_the_row(cases, name: str) -> None:
    folder, values = cases
    trace = Trace(folder / f"{name}.parquet")
    header = trace.header
    assert header.trainer_partitions == (1, 1, 0, 0)  # ranks are in another order than machines
    assert (header.minibatches_per_epoch, header.graph.feature_bytes) == CASES[name]
    assert header.training.fanout == (4, -1)
    assert header.complete
    for value in values:
        epochs = list(trace.epochs(value["rank"]))
        recorded = [
            epoch.ids[start:end].tolist()
            for epoch in epochs
            for start, end in zip(epoch.offsets[:-1], epoch.offsets[1:], strict=True)
        ]
        inputs = np.concatenate([epoch.columns["input_nodes"] for epoch in epochs])
        assert recorded == [one["remote"] for one in value[name]]
        assert inputs.tolist() == [one["inputs"] for one in value[name]]


@pytest.mark.parametrize("name", ["nodes", "links", "edges"])
def test_probabilities_are_those_of_the_seeds_whether_nodes_or_edges(cases, name: str) -> None:
    """The last layer's nodes, with the ends of negative edges, are the seeds of vertex inclusion probability."""
    folder, values = cases
    trace = Trace(folder / f"{name}.parquet")
    for part in range(2):
        ranks = [rank for rank in range(4) if trace.header.partition_of(rank) == part]
        asked = sum(len(one["remote"]) for value in values if value["rank"] in ranks for one in value[name])
        minibatches = sum(len(value[name]) for value in values if value["rank"] in ranks)
        expected = float(trace.nodes(part).vip.sum()) * minibatches
        assert 0.85 < asked / expected < 1.15


def test_a_job_that_dies_tells_why_and_leaves_nothing(homogeneous: Path, tmp_path: Path) -> None:
    script, out = tmp_path / "train.py", tmp_path / "t.parquet"
    script.write_text(
        "import dgl, os\ndgl.distributed.initialize(os.environ['DGL_IP_CONFIG'])\nraise ValueError('mine')"
    )
    with pytest.raises(ClusterError, match="ValueError: mine"):
        capture_job(LocalCluster(parts=2, timeout_s=600), homogeneous, [str(script)], out, Provenance())
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--part-config", "p.json"], "--part-config needs a script"),
        (["--part-config", "p.json", "--batch", "5", "--", "t.py"], "--batch and --part-config"),
        (["--part-config", "p.json", "--graph", "g", "--", "t.py"], "--graph and --part-config"),
        (["--", "t.py"], "SCRIPT needs --part-config"),
        (["--part-config", "p.json", "--", "t.py"], "p.json: is no partition"),
    ],
)
def test_options_that_cannot_be_applied_are_refused(run_cli, tmp_path: Path, words, message) -> None:
    code, _, err = run_cli("traces.capture.__main__", "--out", str(tmp_path / "t.parquet"), *words)
    assert code == 2
    assert message in err


def test_the_prefix_without_a_script(run_cli, tmp_path: Path) -> None:
    assert "no script" in run_cli("traces.record", "--out", str(tmp_path / "t.parquet"))[2]
    assert "no interrupted" in run_cli("traces.record", "--out", str(tmp_path / "t.parquet"), "--recover")[2]


def test_a_partition_that_is_missing_is_one_line(tmp_path: Path) -> None:
    cluster, script, out = LocalCluster(parts=2), tmp_path / "train.py", tmp_path / "t.parquet"
    script.write_text("")
    with pytest.raises(InputError, match=r"mine\.json: is no partition"):
        capture_job(cluster, tmp_path / "mine.json", [str(script)], out, Provenance())
