"""Judging decisions: both branches of every one of them, in rows and in seconds.

A branch is judged over a horizon of minibatches in which no other decision follows, so it says what *this* decision
was worth. Because sampling never looks at the buffer, the rows of both branches are exact.
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
from agents.registry import PolicyPlan, resolve
from sim.cluster.clusterfile import cluster_of
from sim.cluster.scenario import Scenario
from sim.config import RunConfig
from sim.counts.cache_replay import FetchCounts, empty_counts, replay_minibatch
from sim.counts.counterfactual import Branch, branch, part_of_run, part_served
from sim.counts.policy_runs import make_caches
from sim.runs.results import summarise
from sim.runs.twin import Twin
from sim.simulation.simulate import Simulated, simulate


@dataclass(frozen=True, eq=False)
class Judged:
    """A run, a table with a row a decision that was applied, and a report of one row."""

    table: pl.DataFrame
    report: dict[str, float]


def judged_run(
    twin: Twin, plan: PolicyPlan, config: RunConfig, horizon: int, seconds: bool = False
) -> Iterator[Judged]:
    """Simulate and judge `plan`, then its control: a random gate with the same rate of replacements."""
    judged = _simulated_and_judged(twin, plan, config, horizon, seconds)
    yield judged
    if not plan.name.startswith("random:"):
        windows = twin.header.trainers * max(twin.inputs[config.universe][0].stream.minibatches // config.window, 1)
        rate = round(min(judged.report["replacements"] / windows, 1.0), 4)
        control = resolve(f"random:{rate}")
        yield _simulated_and_judged(twin, control, config.model_copy(update={"agent": control.name}), horizon, seconds)


def _simulated_and_judged(twin: Twin, plan: PolicyPlan, config: RunConfig, horizon: int, seconds: bool) -> Judged:
    inputs, header = twin.inputs[config.universe], twin.header
    cluster = cluster_of(header, config)
    simulated = simulate(inputs, header, plan, config, twin.cost, cluster)
    table = judge(twin, config, simulated, horizon, seconds)
    summary = summarise(simulated, inputs, header)
    report = {
        "decisions": summary["decisions"],
        "valid": summary["answers_valid"] / max(summary["decisions"], 1),
        "latency_s": summary["latency_s_mean"],
        "replacements": summary["replacements"],
        "interval": len(inputs) * inputs[0].stream.minibatches / max(summary["decisions"], 1),
        **verdict(table),
        "hit_rate_remote": summary["hit_rate_remote"],
        "fetched_rows": summary["fetched_rows"],
        "over_MIN": summary["fetched_rows"] / twin.bound(config).fetched_rows,
        "epoch_s": summary["epoch_s_mean"],
    }
    return Judged(table, report)


def verdict(table: pl.DataFrame) -> dict[str, float]:
    """Over the judged decisions: `pass_at_1`, the share that took a branch no worse than the other, and the mean
    regret, which is what the branch taken fetched (or lasted) more than the better one."""
    if table.is_empty():
        return {"pass_at_1": float("nan"), "regret_rows": float("nan")}
    found = {"pass_at_1": table["right"].mean(), "regret_rows": table["regret_rows"].mean()}
    if "regret_s" in table.columns:
        found["regret_ms"] = 1e3 * table["regret_s"].mean()  # type: ignore[operator]
    return found  # type: ignore[return-value]


def judge(twin: Twin, config: RunConfig, simulated: Simulated, horizon: int, seconds: bool) -> pl.DataFrame:
    """A row a decision that was applied: what the policy saw (`agents.classifiers.features`), what it did, the rows
    that either branch fetches, `better` (True: replace), `proxy` (the label of Rudder's public code), regret."""
    inputs = twin.inputs[config.universe]
    caches = make_caches(inputs, twin.header, config)
    rows: list[dict[str, Any]] = []
    actual: list[FetchCounts] = []
    branches: list[tuple[int, Branch, Branch]] = []
    for rank, (one, cache, log) in enumerate(zip(inputs, caches, simulated.decisions, strict=True)):
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
    lasted = np.array([_seconds(twin, config, simulated, actual, one) for one in branches])
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


def _seconds(
    twin: Twin,
    config: RunConfig,
    simulated: Simulated,
    actual: list[FetchCounts],
    judged: tuple[int, Branch, Branch],
) -> tuple[float, float]:
    """How long the horizon lasts on the cluster with either branch, the other trainers doing what they did.

    Both branches start with nothing prepared at the time when the first trainer came to the horizon's first minibatch,
    so that they meet what goes wrong at that time; they don't wait for each other at the end of an epoch.
    """
    rank, *both = judged
    first, minibatches = both[0].first, len(both[0].fetch_counts.hit_rows)
    inputs = [part_of_run(one, first, minibatches) for one in twin.inputs[config.universe]]
    header = twin.header.model_copy(update={"minibatches_per_epoch": minibatches + 1})
    start_s = float(simulated.times["start_s"][:, first].min())
    config = config.model_copy(update={"scenario": Scenario.of(config.scenario).later(start_s).text})
    cluster, plan = cluster_of(header, config), resolve("never")
    lasted = []
    for one in both:
        fetch_counts = [part_served(other, first, minibatches) for other in actual]
        fetch_counts[rank] = one.fetch_counts
        times = simulate(inputs, header, plan, config, twin.cost, cluster, fetch_counts=fetch_counts).times
        lasted.append(float((times["start_s"] + times["step_s"]).max()))
    return lasted[0], lasted[1]
