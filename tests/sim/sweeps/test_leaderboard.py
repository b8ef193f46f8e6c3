"""What runs are held against: their own baselines, whatever else a sweep varies."""

import numpy as np
import polars as pl
import pytest

from sim import Twin, sweep
from sim.config import BUFFER_FIELDS, POLICY_FIELDS, RunConfig
from sim.sweeps.batches import run_batch
from sim.sweeps.grid import Grid, expand
from sim.sweeps.leaderboard import compared

OTHER = {
    "trace_sha256": "other", "link_bytes_per_s": 1e6, "link_latency_s": 0.1, "depth": 3, "compute_speed": 2.0,
    "trainers_per_host": 4, "feature_bytes": 8, "owners_sha256": "other", "cluster": '{"cores": 3}',
    "scenario": '{"congestion": [{"factor": 0.5}]}', "engine": "simpy",
    "cost_sha256": "other",
}  # fmt: skip
"""Another value of every field that changes the time of a policy without a buffer."""

SETTING = [name for name in RunConfig.model_fields if name not in ("trace", *POLICY_FIELDS, *BUFFER_FIELDS)]


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace()


def row(agent, epoch_s, **fields):
    """A run that a sweep would have made."""
    buffered = agent not in ("none", "pipeline")
    config = RunConfig(**{"trace": "t", "trace_sha256": "t", "agent": agent} | fields)
    rows = {"buffer_rows": 10 * buffered, "fetched_rows": 30, "min_fetched_rows": 20 if buffered else None}
    counts = {"decisions": 6 * buffered, "replacements": 0, "usable_answers": 6 * buffered}
    return {"run": config.id} | config.model_dump() | {"epoch_s_mean": epoch_s, "error": None} | rows | counts


def found(rows, **condition):
    [one] = compared(pl.DataFrame(rows, infer_schema_length=None)).filter(**condition).to_dicts()
    return one


def test_every_field_has_another_value_here():
    """So that a new field is held to what follows."""
    assert set(OTHER) == set(SETTING)


@pytest.mark.parametrize("field", SETTING)
def test_a_run_is_held_against_baselines_that_are_like_it_in_everything(field):
    """Two settings that differ in one field; in the other one everything takes ten times as long."""
    other = {field: OTHER[field]}
    rows = [
        row("none", 10.0), row("pipeline", 8.0), row("never", 6.0), row("always", 5.0),
        row("none", 100.0, **other), row("pipeline", 80.0, **other), row("never", 60.0, **other),
        row("always", 55.0, **other),
    ]  # fmt: skip
    for order in (rows, rows[::-1]):
        table = compared(pl.DataFrame(order, infer_schema_length=None))
        assert table.height == len(rows)
        one, another = (table.filter(epoch_s_mean=epoch_s).to_dicts()[0] for epoch_s in (5.0, 55.0))
        assert [one[f"vs_{name}"] for name in ("none", "pipeline", "never")] == pytest.approx([-0.5, -0.375, -1 / 6])
        assert [another[f"vs_{name}"] for name in ("none", "pipeline", "never")] == pytest.approx(
            [-0.45, -0.3125, -1 / 12]
        )


@pytest.mark.parametrize("field", SETTING)
def test_without_its_own_baseline_a_run_shows_none(field):
    rows = [row(agent, 10.0) for agent in ("none", "pipeline", "never")]
    alone = found([*rows, row("always", 5.0, **{field: OTHER[field]})], agent="always")
    assert (alone["vs_none"], alone["vs_pipeline"], alone["vs_never"]) == (None, None, None)


def test_baselines_have_no_buffer_that_would_have_to_match():
    rows = [row("none", 10.0), row("pipeline", 8.0)]
    fields = {"cache": "frequency", "buffer": "5%", "init": "empty", "universe": "remote", "window": 4, "mode": "sync"}
    always = found([*rows, row("always", 5.0, seed=3, **fields)], agent="always")
    assert (always["vs_none"], always["vs_pipeline"], always["vs_never"]) == (-0.5, -0.375, None)


@pytest.mark.parametrize("field", BUFFER_FIELDS)
def test_never_is_of_the_same_buffer(field):
    other = {"cache": "frequency", "buffer": "5%", "init": "empty", "universe": "remote", "window": 4, "mode": "sync"}
    other |= {"seed": 3, "cache_sha256": "other"}
    rows = [row("never", 10.0), row("never", 20.0, **{field: other[field]}), row("always", 5.0)]
    assert found(rows, agent="always")["vs_never"] == -0.5
    assert found(rows[1:], agent="always")["vs_never"] is None


def test_only_what_decides_is_held_against_never():
    rows = [row("none", 10.0), row("never", 8.0), row("never", 6.0, cache="lru"), row("never", 7.0, cache="vip")]
    table = compared(pl.DataFrame(rows, infer_schema_length=None))
    assert dict(table.select("epoch_s_mean", "vs_never").rows()) == {10.0: None, 8.0: 0.0, 6.0: None, 7.0: None}


def test_runs_that_failed_are_no_baselines():
    failed = row("none", None) | {"error": "InputError: no"}
    assert found([failed, row("always", 5.0)], agent="always")["vs_none"] is None


def test_scenarios_and_links_of_a_sweep_don_t_mix(trace, tmp_path):
    """The fault: lru in the steady network was held against none in the congested one."""
    scenario = tmp_path / "congested.toml"
    scenario.write_text("[[congestion]]\nstart_s = 0.0\nend_s = 1000.0\nfactor = 0.1\n")
    options = {"caches": ["lru", "score"], "agents": ["none", "pipeline", "never"], "buffers": ["50"]}
    scenarios = ["none", str(scenario)]
    links = ["1mbit", "10mbit"]
    together = sweep(trace, scenarios=scenarios, links=links, **options)
    assert together.height == 2 * 2 * 4
    shares = ("vs_none", "vs_pipeline", "vs_never", "fetched_over_min")
    for one in scenarios:
        for link in links:
            alone = sweep(trace, scenarios=[one], links=[link], **options)
            assert alone["vs_none"].null_count() == 0
            same = together.filter(pl.col("run").is_in(alone["run"].to_list()))
            assert same.sort("run").select("run", *shares).equals(alone.sort("run").select("run", *shares))


@pytest.mark.parametrize("field", [name for name in SETTING if name not in ("trace_sha256", "cost_sha256")])
def test_a_what_if_of_all_runs_alike_leaves_each_its_own_baseline(trace, tmp_path, field):
    """Simulated for real, once as captured and once with one thing changed: side by side they compare as if alone."""
    np.save(tmp_path / "owners.npy", np.arange(400) % 2)
    twin = Twin.open(trace)
    owners = twin.config("none", owners=tmp_path / "owners.npy").owners_sha256
    changed = {
        "link_bytes_per_s": 1e5, "link_latency_s": 0.01, "depth": 2, "compute_speed": 0.1, "trainers_per_host": 2,
        "feature_bytes": 1000, "owners_sha256": owners, "cluster": '{"shared_cores": 1}',
        "scenario": '{"congestion": [{"factor": 0.1}]}', "engine": "simpy",
    }  # fmt: skip
    agents = ["none", "pipeline", "never", "every:2"]
    grid = Grid(trace=[str(trace)], agents=agents, caches=["score", "lru"], buffers=["50"])
    usual = list(expand(grid).configs.values())
    unusual = [config.model_copy(update={field: changed[field]}) for config in usual]
    alone = [[*run_batch(configs, {twin.sha256: twin})] for configs in (usual, unusual)]
    assert all(row["error"] is None for rows in alone for row in rows)
    apart = pl.concat(
        [compared(pl.DataFrame(rows, infer_schema_length=None)) for rows in alone], how="vertical_relaxed"
    )
    together = compared(pl.DataFrame(alone[0] + alone[1], infer_schema_length=None))
    shares = ("run", "vs_none", "vs_pipeline", "vs_never", "fetched_over_min")
    assert together.select(shares).equals(apart.select(shares))
    assert together["vs_none"].null_count() == 0
    times = [[row["epoch_s_mean"] for row in rows] for rows in alone]
    assert (times[1] == pytest.approx(times[0], rel=1e-9)) == (field == "engine")
