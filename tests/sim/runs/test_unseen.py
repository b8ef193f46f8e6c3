"""Times of runs that nobody made: predicted from a captured run, and said where they go beyond it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim import Twin
from sim.calibration.fit import fit
from sim.cost.model import cost_document, read_cost
from sim.cost.service_demand import seeds_elsewhere
from sim.runs.unseen import cost_of_layers, extrapolated_notice
from sim.workload.load import load
from traces.checksum import sha256_of
from traces.errors import InputError
from traces.header import SAMPLED
from traces.reader import Trace
from traces.schema import COUNTS
from traces.writer import TraceWriter, minibatch_table

DEBIAN = Path(__file__).parents[3] / "traces" / "debian.parquet"


@pytest.fixture(scope="module")
def untimed(tmp_path_factory):
    """The captured run of Debian, three epochs, as if it had been sampled: the same ids and counts, and no times."""
    path, trace = tmp_path_factory.mktemp("untimed") / "untimed.parquet", Trace(DEBIAN)
    cluster = trace.header.cluster.model_copy(update={"form": "none", "cores": 1, "link_bytes_per_s": None})
    training = trace.header.training.model_copy(update={"model": "unstated", "hidden": None, "gradient_bytes": 0})
    changes = {"cluster": cluster, "training": training, "epochs": 3, "clock": SAMPLED, "format_version": 2}
    with TraceWriter(path, trace.header.model_copy(update=changes)) as writer:
        for partition in range(4):
            writer.write_nodes(partition, trace.nodes(partition))
        for number in range(3):
            for rank in range(4):
                epoch = trace.epoch(rank, number)
                rows = {name: epoch.columns[name] for name in COUNTS}
                rows["remote_ids"] = np.split(epoch.ids, epoch.offsets[1:-1])
                writer.write_epoch(minibatch_table(rank, rank, number, rows))
    return path


@pytest.fixture(scope="module")
def twin(untimed):
    return Twin.open(untimed, like=DEBIAN)


def test_counts_are_the_captured_ones_and_times_are_near_them(twin):
    run, captured = twin.simulate("every:8", buffer="20%"), Twin.open(DEBIAN).head(3)
    same = captured.simulate("every:8", buffer="20%")
    assert run.row["fetched_rows"] == same.row["fetched_rows"]
    assert run.row["hit_rate_remote"] == same.row["hit_rate_remote"]
    measured_s = captured.measured_epochs["epoch_s"][1:].mean()
    assert twin.simulate("none").row["epoch_s_mean"] == pytest.approx(measured_s, rel=0.1)
    assert run.check() == {}


def test_cluster_and_model_are_those_of_the_captured_run(twin):
    captured = Trace(DEBIAN).header
    assert twin.header.cluster == captured.cluster
    assert twin.header.training.gradient_bytes == captured.training.gradient_bytes > 0
    assert twin.header.sampled


def test_what_is_predicted_is_said_with_intervals(twin):
    sampled, predicted = twin.simulate("none").notices
    assert sampled == "SAMPLED offline: no run was captured"
    assert predicted.startswith("TIMES PREDICTED from debian.parquet: ")
    for unit in ("ns a sampled edge", "ns an input node", "ms a round of the all-reduce", "ms of computing a layer"):
        assert unit in predicted
    assert predicted.count("±") == 6


def test_what_lies_beyond_the_captured_run_is_said_by_how_much(twin):
    inputs, header, basis = twin.inputs["halo"], twin.header, twin.cost.basis
    assert extrapolated_notice(inputs, header, basis) == ""
    doubled = [replace(one, sampled_edges=one.sampled_edges * 2) for one in inputs]
    most = basis.ranges["sampled_edges"][1]
    high = np.percentile([one.sampled_edges * 2 for one in inputs], 95)
    training = header.training.model_copy(update={"fanout": (5, 10, 15)})
    told = extrapolated_notice(doubled, header.model_copy(update={"training": training}), basis)
    assert told == (
        f"EXTRAPOLATED beyond what was captured: sampled edges a minibatch up to {high:,.0f}, "
        f"{high / most:.1f} times the captured {most:,.0f}; hops up to 3, 1.5 times the captured 2"
    )


def test_layers_add_constants_and_gradients(twin):
    """A third layer of 64 x 64: two matrices and a bias."""
    header, basis = twin.header, twin.cost.basis
    three = header.model_copy(update={"training": header.training.model_copy(update={"fanout": (5, 10, 15)})})
    before, after = twin.cost.regression, cost_of_layers(twin.cost, three, basis).regression
    grown = {name: after[name] / value for name, value in before.items() if value}
    assert {name for name, factor in grown.items() if factor != 1} == {"sample_s", "compute_s"}
    assert grown["compute_s"] == pytest.approx(1.5)
    more = basis.taken_over(three).training.gradient_bytes - basis.training.gradient_bytes
    assert more == 4 * (2 * 64 * 64 + 64)


def test_seeds_of_other_hosts_are_taken_from_the_trace(twin):
    header = twin.header.model_copy(update={"seed_hosts": ((), (0, 2), (), (2,))})
    rows = seeds_elsewhere([float("nan")] * 4, header)
    assert np.argwhere(rows).tolist() == [[1, 0], [1, 2], [3, 2]]


def test_a_cost_file_says_the_same_as_the_capture(untimed, twin, tmp_path):
    trace = Trace(DEBIAN)
    cost = fit(load(trace, "halo"), trace.header, "debian.parquet", sha256_of(DEBIAN)).cost
    (path := tmp_path / "cost.json").write_text(cost_document(cost, {}))
    assert read_cost(path).basis == cost.basis
    told = Twin.open(untimed, cost=path)
    assert told.simulate("none").row == twin.simulate("none").row
    assert told.config("none").id == twin.config("none").id
    document = json.loads(path.read_text())
    del document["cost"]["basis"]
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="the file is of an earlier version; calibrate it anew"):
        Twin.open(untimed, cost=path)


def test_the_length_of_a_timeline_is_that_of_the_run(twin):
    used = twin.simulate("none", bins=100).simulated
    assert np.isfinite(used.bin_s)
    length_s = float((used.times["start_s"] + used.times["step_s"]).max())
    assert length_s < 100 * used.bin_s < 10 * length_s


def test_what_cannot_be_is_refused(untimed, twin, run_cli):
    for options, message in [
        ([], "so it has no times: say what things cost with --like CAPTURE"),
        (["--like", str(untimed)], "was sampled offline itself; name a captured run"),
        (["--like", str(DEBIAN), "--cost", "cost.json"], "--cost and --like: both say what things cost"),
        (["--like", "nowhere.parquet"], "nowhere.parquet: no such file"),
    ]:
        code, _, err = run_cli("sim.run", "--trace", str(untimed), *options)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err
    with pytest.raises(InputError, match="for the cost model fitted to its trace"):
        twin.simulate(twin.config("none").model_copy(update={"cost_sha256": ""}))
