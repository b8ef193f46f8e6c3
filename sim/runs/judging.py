"""Judging decisions: both branches of every one of them, in rows and in seconds.

A branch is simulated over a horizon of minibatches without any further decision, so the difference is due to this
decision alone. Because sampling never looks at the buffer, the rows of both branches are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from agents.classifiers.features import FEATURES, features
from agents.policy import Decision
from agents.policy_driver import LoggedDecision
from agents.registry import resolve
from sim.cluster.scenario import Scenario
from sim.config import RunConfig
from sim.counts.cache_replay import FetchCounts, empty_counts, replay_minibatch
from sim.counts.counterfactual import Branch, branch, part_of_counts
from sim.counts.policy_runs import decides, make_caches
from sim.runs.run import Run
from traces.errors import InputError


@dataclass(frozen=True, eq=False)
class Judged:
    """A table with a row for each decision that was applied, a report of one row, and notices."""

    notices: list[str]
    table: pl.DataFrame
    report: dict[str, float]


def judged_run(run: Run, horizon: int, seconds: bool = False) -> Iterator[Judged]:
    """Judge a run, then its control: a random gate with the same rate of replacements."""
    yield _judged(run, horizon, seconds)
    if not run.plan.name.startswith("random:"):
        yield _judged(run.control, horizon, seconds)


def _judged(run: Run, horizon: int, seconds: bool) -> Judged:
    table, row = judge(run, horizon, seconds), run.summary
    minibatches = len(run.applied.inputs) * run.applied.inputs[0].stream.minibatches
    report = {
        "decisions": row["decisions"],
        "valid": row["answers_valid"] / max(row["decisions"], 1),
        "latency_s": row["latency_s_mean"],
        "replacements": row["replacements"],
        "interval": minibatches / max(row["decisions"], 1),
        **verdict(table),
        "hit_rate_remote": row["hit_rate_remote"],
        "fetched_rows": row["fetched_rows"],
        "over_MIN": row["fetched_over_min"],
        "epoch_s": row["epoch_s_mean"],
        "vs_never": row["vs_never"],
        "usable_answers": row["usable_answers"],
    }
    return Judged(run.notices, table, report)


def verdict(table: pl.DataFrame) -> dict[str, float]:
    """Over the judged decisions: `pass_at_1`, the share that took a branch no worse than the other, and the mean
    regret, the rows (or seconds) by which the branch taken exceeds the better one."""
    if table.is_empty():
        return {"pass_at_1": float("nan"), "regret_rows": float("nan")}
    found = {"pass_at_1": table["right"].mean(), "regret_rows": table["regret_rows"].mean()}
    if "regret_s" in table.columns:
        found["regret_ms"] = 1e3 * table["regret_s"].mean()  # type: ignore[operator]
    return found  # type: ignore[return-value]


def judge(run: Run, horizon: int, seconds: bool) -> pl.DataFrame:
    """A row a decision that was applied: what the policy saw (`agents.classifiers.features`), what it did, the rows
    that either branch fetches, `better` (True: replace), `proxy` (the label of Rudder's public code), regret.

    Raises `InputError` for a run in which nothing is decided.
    """
    inputs, config = run.applied.inputs, run.config
    if not run.plan.buffered or not decides(config):
        raise InputError(f"there are no decisions to judge with {run.plan.name} and the cache {config.cache}")
    caches = make_caches(inputs, run.applied.header, config)
    rows: list[dict[str, Any]] = []
    actual: list[FetchCounts] = []
    branches: list[tuple[int, Branch, Branch]] = []
    for rank, (one, cache, log) in enumerate(zip(inputs, caches, run.simulated.decisions, strict=True)):
        fetch_counts = empty_counts(one, cache)
        proxies = proxy_labels(log)
        due = {entry.applied_minibatch: (entry, proxy) for entry, proxy in zip(log, proxies, strict=True)}
        for minibatch in range(one.stream.minibatches):
            entry, proxy = due.get(minibatch, (None, None))
            if entry is not None:
                answer = entry.decision
                asked = answer if answer.replace else Decision(replace=True)
                replaced = branch(one, cache, minibatch, horizon, asked)
                skipped = branch(one, cache, minibatch, horizon, None)
                branches.append((rank, replaced, skipped))
                rows.append(_row(config, rank, minibatch, entry, proxy, replaced, skipped))
            replay_minibatch(fetch_counts, one, cache, minibatch, entry.decision if entry is not None else None)
        actual.append(fetch_counts)
    table = pl.DataFrame(rows, infer_schema_length=None)
    if not seconds or table.is_empty():
        return table
    lasted = np.array([_seconds(run, actual, one) for one in branches])
    took = np.where(table["replaced"].to_numpy(), lasted[:, 0], lasted[:, 1])
    return table.with_columns(
        pl.Series("replace_s", lasted[:, 0]),
        pl.Series("skip_s", lasted[:, 1]),
        pl.Series("regret_s", took - lasted.min(axis=1)),
    )


def proxy_labels(log: list[LoggedDecision]) -> list[bool | None]:
    """What Rudder's public code would call the right answer, from measurements alone, for every decision of a trainer.

    z(change of the hit rate) - z(change of replaced rows) - z(change of the stall) above 0 says that what was done was
    good; otherwise the contrary would have been. None where the effect was not measured.
    """
    seen = [entry.observation for entry in log]
    known = len(seen) - 1
    if known < 1:
        return [None] * len(seen)
    changes = np.array(
        [
            (
                after.hit_rate - before.hit_rate,
                after.window.replacement_rows - before.window.replacement_rows,
                after.window.stall_s - before.window.stall_s,
            )
            for before, after in pairwise(seen)
        ]
    )
    spread = changes.std(axis=0)
    z = (changes - changes.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    good = z[:, 0] - z[:, 1] - z[:, 2] > 0
    return [bool(log[i].decision.replace == good[i]) for i in range(known)] + [None]


def _row(
    config: RunConfig,
    rank: int,
    minibatch: int,
    entry: LoggedDecision,
    proxy: bool | None,
    replaced: Branch,
    skipped: Branch,
) -> dict[str, Any]:
    took, other = (replaced, skipped) if entry.decision.replace else (skipped, replaced)
    return {
        "run": config.id,
        "rank": rank,
        "minibatch": minibatch,
        **dict(zip(FEATURES, features(entry.observation).tolist(), strict=True)),
        "replaced": entry.decision.replace,
        "outcome": entry.decision.outcome,
        "latency_s": entry.decision.latency_s,
        "reason": entry.decision.reason,
        "replace_rows": replaced.fetched_rows,
        "skip_rows": skipped.fetched_rows,
        "better": replaced.fetched_rows < skipped.fetched_rows,
        "proxy": proxy,
        "right": took.fetched_rows <= other.fetched_rows,
        "regret_rows": max(took.fetched_rows - other.fetched_rows, 0),
    }


def _seconds(run: Run, actual: list[FetchCounts], judged: tuple[int, Branch, Branch]) -> tuple[float, float]:
    """How long the horizon lasts on the cluster with either branch, the other trainers doing what they did.

    Both branches start with nothing prepared at the time when the first trainer came to the horizon's first minibatch,
    so that they meet what goes wrong at that time; they don't wait for each other at the end of an epoch.
    """
    rank, *both = judged
    first, minibatches = both[0].first, len(both[0].fetch_counts.hit_rows)
    part, plan = run.applied.part(first, minibatches), resolve("never")
    start_s = float(run.simulated.times["start_s"][:, first].min())
    config = run.config.model_copy(update={"scenario": Scenario.of(run.config.scenario).later(start_s).text})
    lasted = []
    for one in both:
        fetch_counts = [part_of_counts(other, first, minibatches) for other in actual]
        fetch_counts[rank] = one.fetch_counts
        times = part.simulate(plan, config, fetch_counts).times
        lasted.append(float((times["start_s"] + times["step_s"]).max()))
    return lasted[0], lasted[1]
