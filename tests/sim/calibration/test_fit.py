"""Fitting finds the law that times were made with, and refuses runs that can't tell two parameters apart."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sim.calibration.measured_run import own_sampling_s
from traces.errors import InputError

TIMES = {"sample_s": 0.004, "local_gather_s": 0.001, "backward_s": 0.010, "allreduce_s": 0.002, "update_s": 0.001}


@pytest.fixture
def write(write_trace, minibatch):
    """Two hosts, two epochs of 20 minibatches of so many rows; computing takes 2 ms and 0.1 ms an input node."""

    def make(sizes, name="hand.parquet", **others):
        ranks = []
        for host in range(2):
            rows = [list(range((1 - host) * 1000, (1 - host) * 1000 + size)) for size in sizes]
            times = [TIMES | {"backward_s": 0.002 + 1e-4 * (10 + size), "fetch_s": 0.02} | others for size in sizes]
            one = [minibatch(ids, of) for ids, of in zip(rows, times, strict=True)]
            ranks.append([one, one])
        return write_trace(ranks, nodes_per_partition=1000, name=name)

    return make


def test_runs_that_cannot_tell_two_parameters_apart_are_refused(write, tmp_path, run_cli):
    trace, cost = write(np.linspace(20, 200, 20).astype(int)), tmp_path / "cost.json"
    code, out, _ = run_cli("sim.calibrate", str(trace), "--out", str(cost))
    assert (code, "written" in out) == (2, False)  # all sample no edge at all
    other = write([50] * 20, "same.parquet")
    code, _, err = run_cli("sim.calibrate", str(other), "--out", str(cost))
    assert code == 2
    assert "can't tell apart" in err
    assert "compute_s and compute_s_per_row" in err
    assert not cost.exists()


def test_the_law_of_computing(write):
    from sim.calibration.fit import fit
    from sim.workload.load import load
    from traces.reader import Trace

    trace = Trace(write(np.linspace(20, 200, 20).astype(int)))
    fitted = fit(load(trace, "halo"), trace.header, "hand", "sha")
    assert fitted.cost.regression["compute_s"] == pytest.approx(0.002, rel=0.02)
    assert fitted.cost.regression["compute_s_per_row"] == pytest.approx(1e-4, rel=0.02)
    assert fitted.cost.contention_factors["sha"]["compute"] == pytest.approx(1.0, abs=0.01)  # nobody shares a core here
    assert json.dumps(fitted.errors)


def test_a_run_with_buffers_tells_what_these_cost(write_trace, minibatch):
    """Gathering takes 10 us a row at home or in the buffer, looking up 2 us a remote row."""
    from sim.calibration.fit import fit
    from sim.counts.cache_replay import FetchCounts
    from sim.workload.load import load
    from traces.reader import Trace

    sizes, hits = np.linspace(20, 200, 20).astype(int), np.arange(20) * 3 % 19
    ranks = []
    for host in range(2):
        rows = [list(range((1 - host) * 1000, (1 - host) * 1000 + size)) for size in sizes]
        times = [
            TIMES | {"local_gather_s": 1e-5 * (10 + hit), "copy_s": 2e-6 * size, "fetch_s": 0.05}
            for size, hit in zip(sizes, hits, strict=True)
        ]
        ranks.append([[minibatch(ids, of) for ids, of in zip(rows, times, strict=True)]] * 2)
    trace = Trace(write_trace(ranks, nodes_per_partition=1000, policy="never"))
    training = trace.header.training.model_copy(update={"depth": 0})  # nothing beside anything else
    trace = Trace(write_trace(ranks, nodes_per_partition=1000, policy="never", training=training))
    inputs = load(trace, "halo")
    with pytest.raises(InputError, match="captured under policy 'never'"):
        fit(inputs, trace.header, "hand")
    held = np.tile(hits, 2)
    fetch_counts = []
    for one in inputs:
        fetched = one.owner_rows.copy()
        fetched[:, 1 - one.partition] -= held
        fetch_counts.append(FetchCounts(held, held * 0, fetched, np.zeros(2, np.int64), np.arange(1, 41), 100))
    fitted = fit(inputs, trace.header, "hand", "sha", fetch_counts)
    assert fitted.cost.regression["gather_s_per_row"] == pytest.approx(1e-5, rel=0.02)
    assert fitted.cost.regression["gather_s"] == pytest.approx(0.0, abs=2e-6)
    assert fitted.cost.buffer_s_per_row == pytest.approx(2e-6, rel=0.02)


def test_what_was_sampled_in_one_turn_is_shared_by_edges() -> None:
    """Two epochs of three minibatches: three and one are sampled at once, then one a turn, and none in the last."""
    sample_s, edges = np.array([12.0, 0.0, 0.0, 5.0, 7.0, 0.0]), np.array([2, 1, 3, 4, 1, 6])
    own_s = own_sampling_s(sample_s, edges, np.array([3, 3, 3, 5, 6, 6]))
    assert own_s.tolist() == [4.0, 2.0, 6.0, 4.0, 1.0, 7.0]
    assert own_sampling_s(sample_s, edges, np.arange(1, 7)) is sample_s


def test_what_threads_take_to_turn_to_their_work_is_told_from_waiting(write_trace, minibatch):
    """Prepared ahead by one, 5 ms each. The thread may begin the second at 5 ms, when the trainer takes the first, and
    the third at 20 ms, when that takes the second; it does so 2 ms and 1 ms late. The trainer has the first 1 ms after
    it is there, and the others 3 ms after it turns to them."""
    from sim.calibration.measured_run import handoff_latencies_s, measured_times
    from sim.workload.load import load
    from traces.reader import Trace

    when = [(0.000, 0.000, 0.006), (0.007, 0.020, 0.003), (0.021, 0.040, 0.003)]
    epoch = [
        minibatch([], {"prepare_start_s": begun, "start_s": start, "stall_s": stall, "sample_s": 0.005})
        for begun, start, stall in when
    ]
    trace = Trace(write_trace([[epoch]], policy="pipeline"))
    times = measured_times(load(trace, "halo"), trace.header)
    assert times["sample_s"] * 1e3 == pytest.approx(np.array([[5.0, 7.0, 6.0]]))
    assert times["prepare_start_s"] * 1e3 == pytest.approx(np.array([[0.0, 5.0, 20.0]]))
    assert handoff_latencies_s(times) * 1e3 == pytest.approx((1 + 3 + 3) / 3)
    alone = Trace(write_trace([[epoch]], policy="none", name="none.parquet"))
    assert measured_times(load(alone, "halo"), alone.header)["sample_s"] == pytest.approx(0.005)


def test_seeds_that_belong_elsewhere_are_asked_for_beside_home(write_trace, minibatch):
    from sim.cost.service_demand import seeds_elsewhere
    from traces.reader import Trace

    header = Trace(write_trace([[[minibatch([])]]] * 4)).header
    rows = seeds_elsewhere([0.001, 0.005, 0.001, 0.004], header)
    assert rows.tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert not seeds_elsewhere([0.001, 0.0015, 0.001, 0.0019], header).any()


def test_several_runs_make_one_model_by_which_they_take_as_long_as_measured(write):
    """Where steps are longer than their parts say, each trainer in turn is late."""
    from sim.calibration.fit import fit
    from sim.calibration.joint_fit import joint_fit
    from sim.calibration.measured_run import simulate_measured
    from sim.workload.load import load
    from traces.reader import Trace

    def model(step_s):
        fits = []
        for name, least, most in (("one.parquet", 20, 200), ("two.parquet", 50, 300)):
            trace = Trace(write(np.linspace(least, most, 20).astype(int), name, step_s=step_s))
            fits.append(fit(load(trace, "halo"), trace.header, name, name))
        cost, errors = joint_fit(fits)
        runs = [one.measured_run for one in fits]
        times = [simulate_measured(run.inputs, run.header, cost, "another") for run in runs]
        assert set(errors) == set(fits[0].errors)
        assert joint_fit(fits)[0] == cost  # the same every time
        return cost, np.mean([one["step_s"].mean() for one in times])

    plain, plain_s = model(0.0)
    assert plain.straggler_delay_s == 0.0
    assert plain.regression["compute_s_per_row"] == pytest.approx(1e-4, rel=0.15)  # work is drawn around the law
    late, late_s = model(plain_s + 0.003)
    assert 0.002 < late.straggler_delay_s < 0.01
    assert late_s == pytest.approx(plain_s + 0.003, rel=0.03)


def test_work_by_law_spreads_the_same_way_every_time_and_buffers_take_time(write):
    from sim.cost.model import CostModel
    from sim.cost.service_demand import FETCH_STEP, make_service_demand
    from sim.counts.cache_replay import FetchCounts
    from sim.workload.load import load
    from traces.reader import Trace

    trace = Trace(write(np.linspace(20, 200, 20).astype(int)))
    inputs = load(trace, "halo")
    names = ("sample_s", "sample_s_per_edge", "gather_s", "gather_s_per_row", "label_s", "compute_s")
    regression = dict.fromkeys((*names, "compute_s_per_row", "update_s", "allreduce_s_per_round"), 0.001)
    plain = CostModel(
        request_s=0.0, server_s_per_row=1e-5, scatter_s_per_row=0.0, buffer_s_per_row=2e-6, regression=regression
    )
    spread = replace(plain, lognormal_sigma=0.2)
    [even, _], [one, other] = (make_service_demand(inputs, trace.header, cost, "another") for cost in (plain, spread))
    ratio = one.compute_s / even.compute_s
    assert np.log(ratio).std() == pytest.approx(0.2, rel=0.4)
    assert ratio.mean() == pytest.approx(1.0, abs=0.1)
    assert (one.compute_s != other.compute_s).all()
    assert (one.compute_s == make_service_demand(inputs, trace.header, spread, "another")[0].compute_s).all()

    buffered = make_service_demand(inputs, trace.header, plain, "another", buffered=True)[0]
    assert buffered.label_s - even.label_s == pytest.approx(2e-6 * inputs[0].stream.remote_rows)
    hits = np.arange(40)
    fetch_counts = FetchCounts(hits, hits * 0, inputs[0].owner_rows, np.zeros(2, np.int64), hits + 1, 100)
    longer_s = (
        buffered.preparing(0.0, fetch_counts)[0]["overlapped_s"][:, FETCH_STEP]
        - even.preparing(0.0, fetch_counts)[0]["overlapped_s"][:, FETCH_STEP]
    )
    assert longer_s == pytest.approx(1e-5 * hits)
