"""One face: what a configuration says is applied in one place, or refused."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from agents.policy import Decision
from agents.registry import resolve
from sim import Twin
from sim.caches.lru import LRU
from sim.config import RunConfig
from traces.errors import InputError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace()


@pytest.fixture
def twin(trace):
    return Twin.open(trace)


class Third:
    """Replaces after every third observation."""

    name = "third"

    def reset(self, run, seed):
        self._seen = 0

    def decide(self, observation):
        self._seen += 1
        return Decision(replace=self._seen % 3 == 0)


class Mine(LRU):
    """A cache of a user's own, which is LRU."""


def test_a_run_has_its_summary_its_tables_and_its_baselines(twin):
    run = twin.simulate("every:4", buffer="50", link="10mbit", window=4)
    assert run.summary["policy"] == "every:4"
    assert run.config == twin.config("every:4", buffer="50", link="10mbit", window=4)
    for other in ("none", "pipeline"):
        alone = twin.simulate(other, link="10mbit").row["epoch_s_mean"]
        assert run.summary[f"vs_{other}"] == run.summary["epoch_s_mean"] / alone - 1
    never = twin.simulate("never", buffer="50", link="10mbit", window=4).row["epoch_s_mean"]
    assert run.summary["vs_never"] == run.summary["epoch_s_mean"] / never - 1
    assert run.summary["fetched_over_min"] == run.summary["fetched_rows"] / run.bound.fetched_rows >= 1
    assert run.epochs["epoch_s"].mean() == pytest.approx(run.summary["epoch_s_mean"])
    assert run.minibatches.height == 2 * 16
    assert run.minibatches["hit_rows"].sum() == run.summary["hit_rows"]
    assert run.decisions.height == run.summary["decisions"] > 0
    assert run.decisions["step_s"].max() > 0
    assert "every:4" in repr(run)
    assert "2 trainers" in repr(twin)


def test_what_has_no_baseline_of_a_kind_has_none(twin):
    assert twin.simulate("pipeline").summary["vs_never"] is None
    assert twin.simulate("pipeline").summary["fetched_over_min"] is None
    assert twin.simulate(cache="lru", buffer="50").summary["vs_never"] is None
    assert twin.simulate("never", buffer="50").summary["vs_never"] == 0.0


@pytest.mark.parametrize("policy", [Third(), Third])
def test_a_policy_may_be_an_object_or_a_class(twin, policy):
    mine, every = (twin.simulate(one, buffer="50", window=2) for one in (policy, "every:6"))
    assert mine.config.agent == (f"{Third.__module__}:Third" if policy is Third else "object:third")
    assert len(mine.config.agent_sha256) == 64
    assert mine.simulated.counts.keys() == every.simulated.counts.keys()
    for name, counts in mine.simulated.counts.items():
        assert np.array_equal(counts, every.simulated.counts[name])
    assert mine.row["epoch_s_mean"] == every.row["epoch_s_mean"]
    assert mine.none.config == twin.config("none")
    assert mine.never.config == twin.config("never", buffer="50", window=2)


def test_a_cache_may_be_a_class(twin):
    mine, lru = (twin.simulate(cache=cache, buffer="50") for cache in (Mine, "lru"))
    assert mine.config.cache == f"{Mine.__module__}:Mine"
    assert len(mine.config.cache_sha256) == 64
    assert mine.row == lru.row
    assert mine.none.config == lru.none.config
    again = twin.simulate(RunConfig.model_validate_json(mine.config.model_dump_json()))
    assert again.row == lru.row
    other = mine.config.model_copy(update={"cache_sha256": "0" * 64})
    with pytest.raises(InputError, match=r"Mine: its source has the checksum .* made with 0000000000000000;"):
        twin.simulate(other)


def test_what_is_neither_a_policy_nor_a_cache(twin):
    with pytest.raises(InputError, match="3 is no policy: it must have name, reset and decide"):
        twin.simulate(3)
    with pytest.raises(InputError, match="Third: is no cache: it must be a class that inherits"):
        twin.simulate(cache=Third)


def test_counting_ahead_changes_no_result(twin):
    within, ahead = (twin.simulate("random:.5", buffer="50", window=4, ahead=ahead) for ahead in (False, True))
    assert within.row == ahead.row
    assert within.decisions["step_s"].max() > ahead.decisions["step_s"].max() == 0


def test_a_link_rate_may_be_that_of_the_trace(twin):
    assert twin.config("every:4", link="captured") == twin.config("every:4") != twin.config("every:4", link="1gbit")


def test_a_universe_is_read_when_it_is_needed(twin, trace):
    remote = twin.simulate("every:4", buffer="50", universe="remote")
    assert remote.row == Twin.open(trace, ["remote"]).simulate("every:4", buffer="50", universe="remote").row
    assert twin.head(1).simulate("none", ahead=True).epochs.height == 1
    head = Twin.open(trace).head(1).simulate("never", buffer="50", universe="remote")
    assert head.minibatches.height == 2 * 8


@pytest.mark.parametrize(
    ("policy", "options", "message"),
    [
        ("evry:2", {}, "no policy 'evry'"),
        ("none", {"buffer": "25%"}, "none has no buffer, so buffer would mean nothing"),
        ("pipeline", {"window": 4}, "pipeline has no buffer, so window would mean nothing"),
        ("every:4", {"cache": "lru"}, "lru replaces on its own and asks no policy; leave out every:4"),
        (None, {"cache": "lru", "mode": "sync"}, "lru asks no policy, so mode would mean nothing"),
        ("never", {"depth": -1}, "depth=-1: Input should be greater than or equal to 0"),
        ("never", {"bufer": "25%"}, "there is no option bufer; did you mean buffer?"),
        ("never", {"linc": "1gbit"}, "there is no option linc; did you mean link?"),
        ("never", {"buffer": "0"}, "holds 0 rows"),
        ("never", {"link": "fast"}, "link rate 'fast'"),
        ("never", {"trainers_per_host": 3, "buffer": "9999"}, "only 150 nodes are cacheable"),
        ("never", {"trainers_per_host": 99}, "an epoch has 8 minibatches only"),
        ("never", {"scenario": {"congestion": [{"factor": -1}]}}, "scenario: congestion.0.factor: Input should be"),
        ("never", {"scenario": {"congestion": [{"factor": 0.5, "link": "x"}]}}, "names link 'x'"),
        ("never", {"cluster": {"host": [{"name": "nowhere"}]}}, "names host 'nowhere'"),
        ("never", {"cluster": "nowhere.toml"}, "nowhere.toml: can't be read"),
        ("never", {"owners": "nowhere.npy"}, "nowhere.npy"),
        ("never", {"owners_sha256": "abc"}, "no file of owners with SHA-256 abc"),
    ],
)
def test_what_cannot_be_is_refused(twin, policy, options, message):
    with pytest.raises(InputError, match=message):
        twin.simulate(policy, **options)


def test_a_configuration_of_another_trace_is_refused(twin):
    config = RunConfig(trace="other.parquet", trace_sha256="0" * 64, agent="never")
    with pytest.raises(InputError, match=r"for the trace other.parquet \(0000000000000000\), not for .*hand.parquet"):
        twin.simulate(config)
    with pytest.raises(InputError, match="a configuration has all options; leave out buffer"):
        twin.simulate(twin.config("never"), buffer="5%")


def test_runs_under_another_cost_model_are_others(twin, trace):
    """They had one id, and one folder of results."""
    slower = replace(twin.cost, request_s=twin.cost.request_s + 1.0)
    other, same = Twin.open(trace, cost=slower), Twin.open(trace, cost=replace(slower))
    runs = [one.simulate("every:4", buffer="50") for one in (twin, other, same)]
    assert runs[0].config.cost_sha256 == ""
    assert runs[0].config.id != runs[1].config.id == runs[2].config.id
    assert runs[0].row["epoch_s_mean"] + 1.0 < runs[1].row["epoch_s_mean"] == runs[2].row["epoch_s_mean"]
    assert runs[1].none.config.cost_sha256 == runs[1].config.cost_sha256
    assert other.head(1).simulate("none").config.cost_sha256 == runs[1].config.cost_sha256
    with pytest.raises(InputError, match=r"cost model [0-9a-f]{16}, not for the one here \(fitted to its trace\)"):
        twin.simulate(runs[1].config)


def test_a_configuration_is_the_same_whoever_words_it(twin):
    config = twin.config("every:4", buffer="50", scenario={"congestion": [{"factor": 0.5, "end_s": 9}]}, depth=2)
    again = RunConfig.model_validate_json(config.model_dump_json())
    assert twin.simulate(again).row == twin.simulate(config, plan=resolve("every:4")).row


def test_only_the_twin_and_calibration_let_time_pass():
    """Whoever else assembled a simulation would apply a part of the configuration only."""
    callers = set()
    for path in (path for package in ("sim", "replay", "benchmarks") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "sim.simulation.simulate":
                callers |= {path.relative_to(ROOT).as_posix() for one in node.names if one.name == "simulate"}
    assert callers == {"sim/runs/applied.py", "sim/calibration/measured_run.py", "benchmarks/engines.py"}


def test_importing_sim_imports_nothing_else():
    code = "import sim, sys; sys.exit(any(name in sys.modules for name in ('numpy', 'polars', 'numba', 'simpy')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_tables_are_polars_frames(twin):
    run = twin.simulate("none")
    assert all(isinstance(table, pl.DataFrame) for table in (run.epochs, run.minibatches, run.decisions))
    assert run.decisions.is_empty()
