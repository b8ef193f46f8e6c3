"""Workers: processes that share the traces, die alone, and wait for no thread that they don't have."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import polars as pl
import pytest

from sim.config import RunConfig
from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.pool import run_local
from sim.sweeps.store import Store

HANGS_S = 300
"""What takes so long does not come to its end."""


class Deadly(Twin):
    """Kills the worker that runs `always`."""

    def simulate(self, config, **options):
        if config.agent == "always":
            os.kill(os.getpid(), signal.SIGKILL)
        return SimpleNamespace(row={"process": os.getpid()})


def run(twin, agents, workers=2):
    configs = [RunConfig(trace="t", trace_sha256="t", agent=agent, seed=seed) for seed in range(3) for agent in agents]
    return [row for some in run_local(batches(configs), lambda: {"t": twin}, workers) for row in some]


def test_a_policy_that_uses_polars_does_not_wait_for_its_threads_for_ever(run_cli, repeated, tmp_path):
    """This process has used polars; a worker forked off it hung in `Recorded.reset`."""
    recorded, out = tmp_path / "run", tmp_path / "sweep"
    assert run_cli("sim.run", "--trace", str(repeated), "--agent", "every:2", "--out", str(recorded))[0] == 0
    agents = f"recorded:{recorded / 'decisions.parquet'} every:2"
    command = ["-m", "sim.sweep", "--trace", str(repeated), "--agents", agents, "--caches", "score", "--workers", "2"]
    sweep = subprocess.Popen([sys.executable, *command, "--out", str(out)], start_new_session=True)
    try:
        assert sweep.wait(HANGS_S) == 0
    finally:
        if sweep.poll() is None:
            os.killpg(sweep.pid, signal.SIGKILL)
    table = Store(out).read()
    assert table["error"].is_null().all()
    assert table.height == 2
    expected = pl.read_parquet(recorded / "runs.parquet").filter(policy="every:2")["epoch_s_mean"]
    assert set(table["epoch_s_mean"]) == set(expected)


def test_a_worker_that_dies_costs_the_run_that_it_was_at(repeated):
    found = run(Deadly.open(repeated), ("never", "always", "every:2"))
    assert len(found) == 9
    errors = {(row["agent"], row["seed"]): row["error"] for row in found}
    assert all((error is not None) == (agent == "always") for (agent, _), error in errors.items())
    assert "ended with code -9" in errors["always", 0]


def test_no_more_workers_are_started_than_there_are_batches(repeated):
    found = run(Deadly.open(repeated), ("never",), workers=50)
    assert 1 <= len({row["process"] for row in found}) <= 3
    assert os.getpid() not in {row["process"] for row in found}


def test_traces_that_cannot_be_read_end_it(repeated):
    def fail():
        raise FileNotFoundError("a trace")

    configs = [RunConfig(trace="t", trace_sha256="t", agent="never")]
    with pytest.raises(FileNotFoundError, match="a trace"):
        list(run_local(batches(configs), fail, 2))
