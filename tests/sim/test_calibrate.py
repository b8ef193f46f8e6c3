"""Fitting finds the law that times were made with, and refuses runs that can't tell two parameters apart."""

import json

import numpy as np
import pytest

TIMES = {"sample_s": 0.004, "local_gather_s": 0.001, "backward_s": 0.010, "allreduce_s": 0.002, "update_s": 0.001}


@pytest.fixture
def write(write_trace, minibatch):
    """Two hosts, two epochs of 20 minibatches of so many rows; computing takes 2 ms and 0.1 ms an input node."""

    def make(sizes, name="hand.parquet"):
        ranks = []
        for host in range(2):
            rows = [list(range((1 - host) * 1000, (1 - host) * 1000 + size)) for size in sizes]
            times = [TIMES | {"backward_s": 0.002 + 1e-4 * (10 + size), "fetch_s": 0.02} for size in sizes]
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
    from sim.fit import fit
    from sim.load import load
    from traces.reader import Trace

    trace = Trace(write(np.linspace(20, 200, 20).astype(int)))
    fitted = fit(load(trace, "halo"), trace.header, "hand", "sha")
    assert fitted.cost.laws["compute_s"] == pytest.approx(0.002, rel=0.02)
    assert fitted.cost.laws["compute_s_per_row"] == pytest.approx(1e-4, rel=0.02)
    assert fitted.cost.shares["sha"]["compute"] == pytest.approx(1.0, abs=0.01)  # nobody shares a core here
    assert json.dumps(fitted.errors)
