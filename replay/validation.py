"""Comparing a grid of live runs with their simulations: errors of counts, times and rankings.

Every run is simulated over its own recorded trace, with a cost model fitted on all other configurations on the same
graph, machines and link, never on the one that is predicted. So each run has its own cost model, and a run that took
long is missing from its own model but not from the others'. To rank two policies, both are therefore simulated with a
third model, fitted on neither. The first epoch of every run, in which connections open and buffers fill, is left out of
epoch times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import kendalltau

from agents.registry import resolve
from replay.comparison import compare, fit_trace
from replay.grid import Planned
from replay.launch import TRACE, LivePlan, run_live
from sim.calibration.joint_fit import joint_fit
from sim.calibration.measured_run import MeasuredRun
from sim.cost.model import CostModel
from sim.runs.results import epoch_seconds
from traces.capture.launch import Capture
from traces.cluster.link import parse_link
from traces.cluster.local import LocalCluster
from traces.cluster.partition import partition
from traces.errors import InputError
from traces.reader import Trace

SETTING = ["graph", "machines", "link", "batch"]
CONFIGURATION = [*SETTING, "policy"]
PAIRS = {
    "graph": pl.String, "machines": pl.Int64, "link": pl.String, "batch": pl.Int64, "policy": pl.String,
    "other_policy": pl.String, "simulated_s": pl.Float64, "other_simulated_s": pl.Float64,
}  # fmt: skip


def finished(folder: Path) -> bool:
    """Whether a folder holds a complete live run."""
    return (folder / "config.json").is_file() and Trace(folder / TRACE).header.complete


def run_planned(planned: Planned, folder: Path, limit_s: float) -> None:
    """Run it live; partitions are made or reused. The rest of an interrupted run is replaced."""
    block = planned.block
    plan = resolve(planned.policy.agent)
    parts = partition(block.graph, planned.machines, block.graph / f"partition-{planned.machines}")
    capture = Capture(
        graph_dir=block.graph,
        part_config=parts,
        cluster=LocalCluster(parts=planned.machines, link=planned.link, timeout_s=limit_s),
        fanout=block.fanout,
        batch_size=block.batch,
        epochs=block.epochs,
        model=block.model,
        hidden=block.hidden,
        seed=planned.repeat,
        program="replay.validate",
    )
    run_live(LivePlan(capture=capture, config=planned.config, plan=plan), folder)


def predict(
    runs: Sequence[Planned], folders: Path, on_progress: Callable[[], None] = lambda: None, trust: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row a live run: what was measured, what was predicted, and what the cost model was fitted on. And a row a pair
    of a setting's policies: the epoch times of both, simulated with the same cost model, fitted on neither.

    `on_progress` is called after each run; `trust` as in `replay.launch.read_config`. Raises `InputError` where there
    is no other run to fit on.
    """
    fits = {run.folder: fit_trace(folders / run.folder / TRACE, trust) for run in runs}
    costs: dict[tuple[str, ...], CostModel] = {}

    def cost_without(*predicted: Planned) -> tuple[CostModel, str]:
        others = fitted_on(predicted, runs)
        key = tuple(other.folder for other in others)
        if key not in costs:
            repeats = Counter((other.setting, other.policy) for other in others)
            weights = [1 / repeats[other.setting, other.policy] for other in others]
            costs[key] = joint_fit([fits[folder] for folder in key], weights)[0]
        return costs[key], ", ".join(key)

    rows, pairs = [], []
    for run in runs:
        cost, others = cost_without(run)
        compared = compare(folders / run.folder, cost, trust)
        assert compared.simulated_epoch_s is not None  # a cost model was given
        live_s, simulated_s = compared.live_epoch_s[1:].mean(), compared.simulated_epoch_s[1:].mean()
        rows.append(
            _setting(run)
            | {
                "policy": run.policy.label,
                "repeat": run.repeat,
                "live_hit_rows": compared.live_hits,
                "simulated_hit_rows": compared.simulated_hits,
                "remote_rows": int(Trace(folders / run.folder / TRACE).steps()["remote_rows"].sum()),
                "live_fetched_rows": compared.live_fetched_rows,
                "simulated_fetched_rows": compared.simulated_fetched_rows,
                "different_minibatches": len({(d.rank, d.epoch, d.minibatch) for d in compared.differences}),
                "minibatches": compared.minibatches,
                "live_epoch_s": float(live_s),
                "simulated_epoch_s": float(simulated_s),
                "error_share": float(simulated_s / live_s - 1),
                "fitted_on": others,
            }
        )
        on_progress()
    ordered = sorted(runs, key=lambda run: run.policy.label)  # repeats are made in different orders
    for one, other in combinations(ordered, 2):
        if one.setting == other.setting and one.policy != other.policy and one.repeat == other.repeat:
            cost, _ = cost_without(one, other)
            both_s = [_simulated_epoch_s(fits[run.folder].measured_run, cost) for run in (one, other)]
            names = {"policy": one.policy.label, "other_policy": other.policy.label}
            pairs.append(_setting(one) | names | {"simulated_s": both_s[0], "other_simulated_s": both_s[1]})
    return pl.DataFrame(rows), pl.DataFrame(pairs, schema=PAIRS)


def _setting(run: Planned) -> dict[str, Any]:
    return dict(zip(SETTING, run.setting, strict=True))


def _simulated_epoch_s(measured_run: MeasuredRun, cost: CostModel) -> float:
    """The mean epoch after the first."""
    times = measured_run.simulated(cost, predicted=True)
    return float(epoch_seconds(times["start_s"], times["step_s"], measured_run.header.minibatches_per_epoch).mean())


def fitted_on(predicted: Sequence[Planned], runs: Sequence[Planned]) -> list[Planned]:
    """The runs that the cost model for some runs of a setting is fitted on: all runs of other policies in the same
    setting, or if there are none, all runs of the nearest other setting. Raises `InputError` where there is no other
    run at all."""
    run, policies = predicted[0], [one.policy for one in predicted]
    rate = parse_link(run.link)
    others = [one for one in runs if one.setting == run.setting and one.policy not in policies]
    elsewhere = [one for one in runs if one.setting != run.setting]
    if not others and not elsewhere:
        raise InputError(f"{run.folder}: no other run is there to fit its cost model on")

    def distance(other: Planned) -> tuple[Any, ...]:
        return (
            other.block.graph != run.block.graph,
            other.machines != run.machines,
            other.block.batch != run.block.batch,
            abs(math.log(parse_link(other.link) / rate)),
        )

    return others or [one for one in elsewhere if one.setting == min(elsewhere, key=distance).setting]


def summarise(rows: pl.DataFrame, pairs: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`configurations`: means over repeats, with the noise of the live ones; `settings`: how the policies of a setting
    are ranked; `overall`: one row.

    `noise_share` is the standard deviation of the live epoch times of a configuration's repeats over their mean, and of
    a setting the mean of its configurations' (of all, where none is repeated). `kendall_tau` is over all pairs of
    policies, each compared as `predict` says; `clear_tau` over those of them whose live epoch times differ by more than
    twice the standard error that the setting's noise gives such a difference. `table_tau` ranks
    the epoch times of the table, each simulated with a cost model of its own. The simulator chooses the policy that
    wins most of its pairs; `regret_share` is what that takes longer, live, than the best, and `regret_is_clear` says
    whether those two are such a pair.
    """
    configurations = rows.group_by(CONFIGURATION, maintain_order=True).agg(
        pl.len().alias("repeats"),
        (pl.col("live_hit_rows").sum() / pl.col("remote_rows").sum()).alias("live_hit_rate"),
        (pl.col("simulated_hit_rows").sum() / pl.col("remote_rows").sum()).alias("simulated_hit_rate"),
        pl.col("live_fetched_rows").mean(),
        pl.col("simulated_fetched_rows").mean(),
        pl.col("different_minibatches").sum(),
        pl.col("minibatches").sum(),
        pl.col("live_epoch_s").mean(),
        pl.col("simulated_epoch_s").mean(),
        (pl.col("simulated_epoch_s").mean() / pl.col("live_epoch_s").mean() - 1).alias("error_share"),
        (pl.col("live_epoch_s").std() / pl.col("live_epoch_s").mean()).alias("noise_share"),
    )
    own_noise = pl.col("noise_share")
    configurations = configurations.with_columns(
        setting_noise_share=own_noise.mean().over(SETTING).fill_null(own_noise.mean()).fill_null(0.0)
    )
    compared = _compared(pairs, configurations)
    settings = []
    for setting, of_setting in configurations.group_by(SETTING, maintain_order=True):
        live, simulated = of_setting["live_epoch_s"].to_numpy(), of_setting["simulated_epoch_s"].to_numpy()
        own = compared.filter(**dict(zip(SETTING, setting, strict=True)))
        wins = [int((own["faster"] == policy).sum()) for policy in of_setting["policy"]]
        chosen = max(range(len(wins)), key=lambda i: (wins[i], -simulated[i]))
        clear = own.filter(pl.col("clear"))
        chosen_policy, best_policy = of_setting["policy"][chosen], of_setting["policy"][int(np.argmin(live))]
        both = pl.concat_list("policy", "other_policy")
        settings.append(
            dict(zip(SETTING, setting, strict=True))
            | {
                "policies": len(of_setting),
                "mean_error_share": of_setting["error_share"].abs().mean(),
                "noise_share": of_setting["setting_noise_share"][0],
                "kendall_tau": own["agreement"].mean(),
                "clear_pairs": len(clear),
                "clear_tau": clear["agreement"].mean(),
                "table_tau": float(kendalltau(live, simulated).statistic) if len(of_setting) > 1 else None,
                "chosen": chosen_policy,
                "best": best_policy,
                "regret_share": float(live[chosen] / live.min() - 1),
                "regret_is_clear": not clear.filter(
                    both.list.contains(chosen_policy) & both.list.contains(best_policy)
                ).is_empty(),
            }
        )
    by_setting = pl.DataFrame(settings)
    errors = configurations["error_share"].abs()
    overall = {
        "configurations": len(configurations),
        "different_minibatches": int(configurations["different_minibatches"].sum()),
        "minibatches": int(configurations["minibatches"].sum()),
        "mean_error_share": float(errors.mean()),  # type: ignore[arg-type]  # a number, where there is a row
        "worst_error_share": float(errors.max()),  # type: ignore[arg-type]
        **{name: by_setting[name].cast(pl.Float64).mean() for name in ("kendall_tau", "table_tau")},
        "pairs": len(compared),
        "clear_pairs": int(compared["clear"].sum()),
        "clear_tau": compared.filter(pl.col("clear"))["agreement"].mean(),
        "worst_regret_share": float(by_setting["regret_share"].max()),  # type: ignore[arg-type]
        "worst_clear_regret_share": by_setting.filter("regret_is_clear")["regret_share"].max() or 0.0,
        "noise_share": configurations["noise_share"].mean(),
    }
    return {"configurations": configurations, "settings": by_setting, "overall": pl.DataFrame([overall])}


def _compared(pairs: pl.DataFrame, configurations: pl.DataFrame) -> pl.DataFrame:
    """Every pair of a setting's policies: which one the simulator takes for the `faster`, its `agreement` with the live
    runs (1, or -1), and whether those differ by more than twice the noise of such a difference (`clear`)."""
    live = configurations.select(*CONFIGURATION, "live_epoch_s", "repeats", "setting_noise_share")
    other = live.drop("setting_noise_share").rename(
        {"policy": "other_policy", "live_epoch_s": "other_live_s", "repeats": "other_repeats"}
    )
    error_share = pl.col("setting_noise_share") * (1 / pl.col("repeats") + 1 / pl.col("other_repeats")).sqrt()
    live_s, other_s = pl.col("live_epoch_s"), pl.col("other_live_s")
    first = pl.col("simulated_s") < pl.col("other_simulated_s")
    return (
        pairs.group_by([*CONFIGURATION, "other_policy"], maintain_order=True)
        .agg(pl.col("simulated_s").mean(), pl.col("other_simulated_s").mean())
        .join(live, on=CONFIGURATION, maintain_order="left")
        .join(other, on=[*SETTING, "other_policy"], maintain_order="left")
        .with_columns(
            faster=pl.when(first).then("policy").otherwise("other_policy"),
            agreement=pl.when(first == (live_s < other_s)).then(1.0).otherwise(-1.0),
            clear=(live_s / other_s).log().abs() > 2 * error_share,
        )
    )
