"""A grid of live runs against their simulations: how far counts, times and rankings are off.

Every run is simulated over its own recorded trace, with a cost model fitted on other runs: those without a buffer
(`none` and `pipeline`) on the same graph, machines and link, but never on the configuration that is predicted. The
first epoch of every run, in which connections open and buffers fill, is left out of epoch times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import kendalltau

from agents.registry import resolve
from replay.comparison import compare, fit_trace
from replay.grid import Planned
from replay.launch import TRACE, Live, run_live
from sim.fit import Fitted, pooled
from traces.capture.launch import Capture
from traces.cluster.link import parse_link
from traces.cluster.local import LocalCluster
from traces.cluster.partition import partition
from traces.errors import InputError
from traces.reader import Trace

SETTING = ["graph", "machines", "link", "batch"]
CONFIGURATION = [*SETTING, "policy"]


def finished(folder: Path) -> bool:
    """Whether a live run is there, whole."""
    return (folder / "config.json").is_file() and Trace(folder / TRACE).header.complete


def run_planned(planned: Planned, folder: Path, limit_s: float) -> None:
    """Run it live; partitions are made or found again. What an interrupted run left is run again."""
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
    run_live(Live(capture=capture, config=planned.config, plan=plan), folder)


def predict(runs: Sequence[Planned], folders: Path, tell: Callable[[], None] = lambda: None) -> pl.DataFrame:
    """A row a live run: what was measured, what was predicted, and what the cost model was fitted on.

    `tell` is called after each. Raises `InputError` where there is no other run to fit on.
    """
    fits: dict[str, Fitted] = {}
    rows = []
    for run in runs:
        others = fitted_on(run, runs)
        for other in others:
            if other.folder not in fits:
                fits[other.folder] = fit_trace(folders / other.folder / TRACE)
        cost, _ = pooled([fits[other.folder] for other in others])
        compared = compare(folders / run.folder, cost)
        assert compared.simulated_epoch_s is not None  # a cost model was given
        live_s, simulated_s = compared.live_epoch_s[1:].mean(), compared.simulated_epoch_s[1:].mean()
        graph, machines, link, batch = run.setting
        rows.append(
            {
                "graph": graph,
                "machines": machines,
                "link": link,
                "batch": batch,
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
                "fitted_on": ", ".join(other.folder for other in others),
            }
        )
        tell()
    return pl.DataFrame(rows)


def fitted_on(run: Planned, runs: Sequence[Planned]) -> list[Planned]:
    """The runs that the cost model of `run` is fitted on: all without a buffer in the same setting, of other policies
    than its own. Where there is none, that of the nearest other link rate. Raises `InputError` where there is none."""
    rate = parse_link(run.link)
    plain = [one for one in runs if not resolve(one.policy.agent).buffered]
    others = [one for one in plain if one.setting == run.setting and one.policy != run.policy]
    elsewhere = [one for one in plain if one.setting != run.setting]
    if not others and not elsewhere:
        raise InputError(f"{run.folder}: no other run with policy none or pipeline is there to fit its cost model on")

    def distance(other: Planned) -> tuple[Any, ...]:
        return (
            other.block.graph != run.block.graph,
            other.machines != run.machines,
            other.block.batch != run.block.batch,
            abs(math.log(parse_link(other.link) / rate)),
        )

    return others or [min(elsewhere, key=distance)]


def summarise(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """`configurations`: means over repeats, with the noise of the live ones; `settings`: how the policies of a setting
    are ranked; `overall`: one row.

    `noise_share` is the standard deviation of the live epoch times of a configuration's repeats over their mean.
    `regret_share` is what the policy that the simulator would choose takes longer, live, than the best.
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
    settings = []
    for setting, of_setting in configurations.group_by(SETTING, maintain_order=True):
        live, simulated = of_setting["live_epoch_s"].to_numpy(), of_setting["simulated_epoch_s"].to_numpy()
        chosen = int(np.argmin(simulated))
        ranked = len(of_setting) > 1
        settings.append(
            dict(zip(SETTING, setting, strict=True))
            | {
                "policies": len(of_setting),
                "kendall_tau": float(kendalltau(live, simulated).statistic) if ranked else None,
                "chosen": of_setting["policy"][chosen],
                "best": of_setting["policy"][int(np.argmin(live))],
                "regret_share": float(live[chosen] / live.min() - 1),
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
        "kendall_tau": float(np.nanmean(by_setting["kendall_tau"].cast(pl.Float64).to_numpy())),
        "worst_regret_share": float(by_setting["regret_share"].max()),  # type: ignore[arg-type]
        "noise_share": configurations["noise_share"].mean(),
    }
    return {"configurations": configurations, "settings": by_setting, "overall": pl.DataFrame([overall])}
