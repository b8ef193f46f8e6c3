"""The command that samples a run offline."""

import json

import numpy as np
import pytest

from traces.reader import Trace


@pytest.fixture
def sampled(graph_dir, part_config, tmp_path, run_cli):
    """Samples into a file of `tmp_path`, and gives its path."""

    def make(name="sampled.parquet", *options):
        given = ["--graph", str(graph_dir), "--parts", "2", "--partitions", str(part_config.parent)]
        size = ["--arrays", str(tmp_path / "arrays"), "--fanout", "4,4", "--batch", "100", "--epochs", "2"]
        code, out, err = run_cli("traces.sample", *given, *size, *options, "--out", str(tmp_path / name))
        assert code == 0, err
        assert "SAMPLED offline: no run was captured" in out
        return tmp_path / name

    return make


def test_the_same_settings_give_the_same_bytes_with_any_number_of_threads(sampled, tmp_path, monkeypatch):
    (tmp_path / "again").mkdir()
    first = sampled()
    monkeypatch.setattr("traces.cores.usable_cores", lambda: 3)
    assert first.read_bytes() == sampled("again/sampled.parquet").read_bytes()
    assert first.read_bytes() != sampled("again/sampled.parquet", "--seed", "1").read_bytes()


def test_it_is_a_trace_of_all_trainers_without_times(sampled):
    trace = Trace(sampled("sampled.parquet", "--trainers", "2"))
    header = trace.header
    assert header.sampled
    assert (header.trainers, header.epochs, header.minibatches_per_epoch) == (4, 2, 6)
    steps = trace.steps()
    assert steps["step_s"].null_count() == len(steps)
    assert steps["seeds"].to_list() == [100] * 48
    first, second = (trace.epoch(0, epoch) for epoch in range(2))
    assert not np.array_equal(first.ids, second.ids)
    assert np.isnan(first.owner_done_s).all()


def test_a_sampled_trace_has_no_times_that_a_synthetic_one_could_repeat(sampled, run_cli, tmp_path):
    path = sampled()
    code, _, err = run_cli("traces.synthetic", "--like", str(path), "--out", str(tmp_path / "s.parquet"))
    assert (code, "was sampled offline, so it has no times to repeat" in err) == (2, True)
    assert not (tmp_path / "s.parquet").exists()


def test_info_shows_it(sampled, run_cli):
    code, out, _ = run_cli("traces.info", str(sampled()))
    assert code == 0
    assert "sampled offline" in out
    assert "nan" not in out


def test_json_says_what_was_written(graph_dir, part_config, tmp_path, run_cli):
    given = ["--graph", str(graph_dir), "--parts", "2", "--partitions", str(part_config.parent)]
    out = ["--arrays", str(tmp_path / "arrays"), "--out", str(tmp_path / "t.parquet"), "--json"]
    found = json.loads(run_cli("traces.sample", *given, *out)[1])
    assert found["remote_rows"] == Trace(tmp_path / "t.parquet").remote_rows > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --graph"),
        (["--graph", "g", "--part-config", "c"], "give either --graph"),
        (["--graph", "g"], "--graph needs either --parts"),
        (["--graph", "g", "--parts", "2", "--owners", "o.npy"], "--graph needs either --parts"),
        (["--part-config", "c", "--parts", "2"], "--parts and --part-config: the partition says that"),
        (["--part-config", "c", "--real", "--synthetic", "x"], "a graph is one or the other"),
        (["--graph", "g", "--parts", "2", "--real"], "--synthetic and --real are for --part-config"),
        (["--graph", "g", "--owners", "o.npy", "--partitions", "p"], "--partitions is for --parts"),
        (["--graph", "g", "--parts", "2", "--fanout", "ten"], "--fanout 'ten': write numbers"),
        (["--graph", "g", "--parts", "2", "--fanout", "0,5"], "fanout is (0, 5); it must be"),
        (["--graph", "nowhere", "--parts", "2"], "holds no graph"),
        (["--part-config", "nowhere.json"], "is no partition of a graph"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(tmp_path, run_cli, options, message):
    code, _, err = run_cli("traces.sample", *options, "--out", str(tmp_path / "t.parquet"))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_more_trainers_than_training_nodes_are_refused(graph_dir, part_config, tmp_path, run_cli):
    given = ["--graph", str(graph_dir), "--parts", "2", "--partitions", str(part_config.parent)]
    options = ["--arrays", str(tmp_path / "arrays"), "--trainers", "3000", "--out", str(tmp_path / "t.parquet")]
    code, _, err = run_cli("traces.sample", *given, *options)
    assert code == 2
    assert "training nodes for 6000 trainers: some have none; give fewer trainers" in err
    assert not (tmp_path / "t.parquet").exists()
