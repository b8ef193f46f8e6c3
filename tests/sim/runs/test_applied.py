"""Every field of a configuration is applied by every caller, or refused: none is ignored."""

import numpy as np
import pytest

from sim import Twin
from sim.config import RunConfig
from sim.runs.judging import judge
from sim.sweeps.batches import run_batch
from traces.errors import InputError

TIMES = {"sample_s": 0.001, "local_gather_s": 0.001, "forward_s": 0.002, "backward_s": 0.002, "fetch_s": 0.004}
CHANGES = {
    "agent": "never", "cache": "frequency", "buffer": "30", "init": "empty", "universe": "remote", "window": 4,
    "mode": "sync", "link_bytes_per_s": 1e5, "link_latency_s": 0.01, "depth": 3, "compute_speed": 0.1,
    "trainers_per_host": 2, "feature_bytes": 1000, "cluster": '{"agent_latency_s": 0.02}',
    "scenario": '{"congestion": [{"factor": 0.1}]}', "seed": 5,
}  # fmt: skip
"""Another value of every field that changes what a run with a buffer and a slow policy gives."""

REFUSED = dict.fromkeys(("trace_sha256", "owners_sha256", "agent_sha256", "cache_sha256", "cost_sha256"), "other")
SILENT = ("trace", "engine")
"""A file's name, and what gives the same to 1e-9 (`tests/sim/engine`)."""


@pytest.fixture
def opened(write_trace, minibatch):
    rng = np.random.default_rng(0)

    def trainer(first):
        draw = lambda: sorted(set((first + 200 * rng.random(60) ** 2).astype(int).tolist()))  # noqa: E731
        return [[minibatch(draw(), TIMES, local_nodes=50) for _ in range(8)] for _ in range(2)]

    path = write_trace([trainer(200), trainer(0)], nodes_per_partition=200, halo=[range(200, 350), range(150)])
    return Twin.open(path)


def usual(twin, **fields):
    options = {"buffer": "50", "init": "random", "window": 2, "cluster": {"agent_latency_s": 0.005}}
    return twin.config("random:.5", **options | fields)


def test_every_field_is_held_to_it():
    assert {*CHANGES, *REFUSED, *SILENT} == set(RunConfig.model_fields)


@pytest.mark.parametrize("field", CHANGES)
def test_a_field_changes_runs_and_sweeps_alike(opened, field):
    config = usual(opened)
    other = config.model_copy(update={field: CHANGES[field]})
    before, after = (opened.simulate(one).row for one in (config, other))
    assert before != after
    [swept] = run_batch([other], {opened.sha256: opened})
    assert swept["error"] is None
    assert {name: swept[name] for name in after} == after


@pytest.mark.parametrize("field", [name for name in CHANGES if name not in ("agent", "mode")])
def test_a_field_changes_what_the_judge_says(opened, field):
    config = usual(opened)
    other = config.model_copy(update={field: CHANGES[field]})
    before, after = (judge(opened.simulate(one), 4, seconds=True) for one in (config, other))
    assert not before.drop("run").equals(after.drop("run"))


@pytest.mark.parametrize("fields", [{"trainers_per_host": 2}, {"feature_bytes": 1000}, {"universe": "remote"}], ids=str)
def test_a_field_changes_the_bound(opened, fields):
    """The fault: it was that of the captured run, whatever its buffers would hold then."""
    config = usual(opened, buffer="3kB")
    other = config.model_copy(update=fields)
    assert opened.bound(config).fetched_rows != opened.bound(other).fetched_rows
    assert opened.simulate(other).row["min_fetched_rows"] == opened.bound(other).fetched_rows


@pytest.mark.parametrize("field", REFUSED)
def test_what_cannot_be_applied_is_refused(opened, field):
    config = usual(opened).model_copy(update={field: REFUSED[field]})
    with pytest.raises(InputError):
        opened.simulate(config)
    [swept] = run_batch([config], {config.trace_sha256: opened})
    assert swept["error"].startswith("InputError")


def test_owners_are_applied_where_their_file_is_known(opened, tmp_path):
    np.save(tmp_path / "owners.npy", (np.arange(400) < 300).astype(int))
    config = usual(opened, owners=tmp_path / "owners.npy")
    assert opened.simulate(config).row["epoch_s_mean"] != opened.simulate(usual(opened)).row["epoch_s_mean"]
