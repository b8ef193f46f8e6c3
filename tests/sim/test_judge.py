"""Judging: both branches of a decision worked out by hand, the oracle, the log of decisions and its replay."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sim.counts.policy_runs import replay_recorded
from sim.runs.judging import judge, judged_run, verdict
from sim.runs.twin import Twin

# One trainer's minibatches ask for other rows from the fifth on, so a buffer of three is worth replacing there.
EARLY, LATE = [10, 11, 12], [13, 14, 15]


@pytest.fixture
def twin(write_trace, minibatch):
    """Two trainers, eight minibatches in two epochs; only the first trainer asks for remote rows."""
    times = {"sample_s": 0.01, "forward_s": 0.05}
    first = [minibatch(EARLY, times)] * 4 + [minibatch(LATE, times)] * 4
    second = [minibatch([], times)] * 8
    path = write_trace([[one[:4], one[4:]] for one in (first, second)], nodes_per_partition=10)
    return Twin.open(path, {"halo"})


def run(twin, agent="always", **changes):
    return twin.simulate(agent, **{"cache": "frequency", "buffer": "3"} | changes)


def judged(one, horizon, seconds=False):
    return judge(one, horizon, seconds).filter(rank=0).sort("minibatch")


def test_both_branches_of_every_decision_are_those_counted_by_hand(twin):
    """The buffer holds EARLY at first. A replacement in minibatch 4 takes LATE in, which 4 has just missed.

    It does so only once LATE was asked for more often than EARLY has been, by decayed counts: never within the run
    under `misses`; under `recent` at once. `always` ranks by misses, so both branches are equal everywhere.
    """
    table = judged(run(twin), horizon=3)
    assert table["minibatch"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert table["skip_rows"].to_list() == [0, 3, 6, 9, 9, 6, 3]
    assert table["replace_rows"].to_list() == [0, 3, 6, 9, 9, 6, 3]
    assert not table["better"].any()
    assert table["right"].all()


def test_regret_is_what_the_branch_taken_fetches_more(twin):
    """A short memory forgets EARLY: then replacing saves what is asked for after it."""
    table = judged(run(twin, "never", cache="window:minibatches=1"), horizon=3)
    # Asked with LATE just missed in minibatch m: in m nothing is saved, later in the horizon all three rows are.
    assert table["skip_rows"].to_list() == [0, 3, 6, 9, 9, 6, 3]
    assert table["replace_rows"].to_list() == [0, 3, 6, 3, 3, 3, 3]
    assert table["regret_rows"].to_list() == [0, 0, 0, 6, 6, 3, 0]
    assert verdict(table) == {"pass_at_1": 4 / 7, "regret_rows": 15 / 7}


def test_the_oracle_takes_the_better_branch_and_regrets_nothing(twin):
    oracle = run(twin, "oracle:3", cache="window:minibatches=1")
    table = judged(oracle, horizon=3)
    assert table["replaced"].to_list() == [False, False, False, True, False, False, False]
    assert verdict(table) == {"pass_at_1": 1.0, "regret_rows": 0.0}
    assert oracle.row["fetched_rows"] < run(twin, "never").row["fetched_rows"]


def test_seconds_are_those_of_the_rows_on_the_wire(twin):
    table = judged(run(twin, "never", cache="window:minibatches=1"), horizon=3, seconds=True)
    equal = table.filter(pl.col("replace_rows") == pl.col("skip_rows"))
    assert equal["replace_s"].to_list() == equal["skip_s"].to_list()
    better = table.filter("better")
    assert (better["replace_s"] <= better["skip_s"]).all()
    assert (table["regret_s"] == (table["skip_s"] - table["replace_s"]).clip(0)).all()


def test_a_congested_link_costs_more(twin):
    steady = run(twin, "never").simulated
    slow = run(twin, "never", scenario={"congestion": [{"factor": 0.1}]}).simulated
    assert np.array_equal(slow.counts["fetched_rows"], steady.counts["fetched_rows"])
    late = np.arange(8) >= 4
    assert (slow.times["fetch_s"][0, late] > steady.times["fetch_s"][0, late]).all()
    past = run(twin, "never", scenario={"congestion": [{"start_s": 1e6, "end_s": 2e6, "factor": 0.1}]}).simulated
    assert np.array_equal(past.times["step_s"], steady.times["step_s"])


def test_the_control_replaces_at_the_same_rate(twin):
    agent, control = judged_run(run(twin, "every:2"), horizon=3)
    assert agent.report["replacements"] == 8 - 2  # 2 trainers, after minibatches 1, 3 and 5; 7 is the last
    assert control.report.keys() == agent.report.keys()
    assert agent.report["over_MIN"] == agent.report["fetched_rows"] / 6


def test_a_log_repeats_its_run_exactly(twin, tmp_path):
    script = tmp_path / "script"
    answer = '{"reason": "r", "action": "replace", "share_percent": 50, "ranking": "recent", "expected_impact": "e"}'
    script.write_text(f"{answer}\nnonsense\n")
    cache = "window:minibatches=1"
    first = run(twin, f"scripted:{script}", cache=cache)
    log = first.decisions
    assert log["answer"].to_list()[:2] == [answer, "nonsense"]
    assert log["outcome"].to_list()[:2] == ["valid", "invalid"]
    assert "Hit rate is" in log["prompt"][0]
    assert log["after_remote_rows"][0] == log["remote_rows"][1]
    log.write_parquet(tmp_path / "decisions.parquet")
    again = run(twin, f"recorded:{tmp_path / 'decisions.parquet'}", cache=cache)
    assert again.decisions.equals(first.decisions.drop("prompt", "system_prompt"))
    for name, values in first.simulated.times.items():
        assert np.array_equal(again.simulated.times[name], values), name


def test_recorded_decisions_apply_when_they_did_whatever_time_passes_now(twin, tmp_path):
    first = run(twin, cache="window:minibatches=1", window=2)
    config, counts = first.config, first.simulated.counts
    path = tmp_path / "decisions.parquet"
    log = first.decisions.filter(pl.col("rank") == 0)  # the other trainer's run ended before any
    log.write_parquet(path)
    served, undecided = replay_recorded(twin.inputs["halo"], twin.header, config, path)
    assert np.array_equal(served.hit_rows, counts["hit_rows"][0])
    assert np.array_equal(served.rows_by_owner.sum(axis=1), counts["fetched_rows"][0])
    assert not undecided.replacement_rows.any()
    assert log.select("asked_minibatch", "applied_minibatch").rows() == [(1, 2), (3, 4), (5, 6)]
    slow = log.head(2).with_columns(asked_minibatch=pl.Series([1, 4]), applied_minibatch=pl.Series([3, 6]))
    slow.write_parquet(path)
    served, _ = replay_recorded(twin.inputs["halo"], twin.header, config, path)
    assert [(one.observation.minibatch, one.applied_minibatch) for one in served.decisions] == [(1, 3), (4, 6)]


def test_judging_on_the_command_line(twin, tmp_path, run_cli):
    code, out, err = run_cli(
        "sim.judge", "--trace", str(tmp_path / "hand.parquet"), "--agent", "every:2", "--cache", "frequency",
        "--buffer", "3", "--seeds", "2", "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "pass at 1" in out
    assert pl.read_parquet(tmp_path / "out" / "judged.parquet")["run"].n_unique() == 2


@pytest.mark.parametrize("options", [("--agent", "none"), ("--cache", "lru", "--buffer", "3")])
def test_where_nothing_is_decided_nothing_is_judged(options, twin, tmp_path, run_cli):
    code, _, err = run_cli("sim.judge", "--trace", str(tmp_path / "hand.parquet"), *options)
    assert code == 2
    assert "there are no decisions to judge" in err
