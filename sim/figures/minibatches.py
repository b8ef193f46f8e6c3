"""A run minibatch by minibatch: tables of `sim.runs.results.minibatch_table`, with a column `policy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.figures.style import GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, colour_of, label_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PARTS = {
    "stall_s": ("stall: waiting for the minibatch", VERMILLION, "///"),
    "compute_s": ("compute", GREEN, ""),
    "wait_s": ("wait for the slowest trainer", ORANGE, "..."),
    "reduce_s": ("all-reduce and update", PURPLE, ""),
}
PREPARED = {"sample_s": ("sample", GREY, ""), "fetch_s": ("fetch", SKY, "\\\\\\")}


def hit_rate(minibatches: pl.DataFrame, axis: Axes) -> Axes:
    """Hits over all remote rows, minibatch by minibatch, over all trainers; a line a policy that has a buffer.

    Takes `policy`, `epoch`, `minibatch`, `remote_rows`, `hit_rows`.
    """
    from matplotlib.ticker import PercentFormatter

    for number, (policy, table) in enumerate((p, t) for p, t in _by_policy(minibatches) if t["hit_rows"].sum()):
        shares = table["hit_rows"] / table["remote_rows"]
        axis.plot(shares.to_numpy(), lw=1, color=colour_of(policy, number), label=label_of(policy))
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(ylabel="hits of all remote rows", ylim=(0, None))
    return _over_run(minibatches, axis)


def fetched_rows(minibatches: pl.DataFrame, axis: Axes) -> Axes:
    """Rows that crossed the network for a minibatch, misses and replacements of all trainers; a line a policy.

    Takes `policy`, `epoch`, `minibatch`, `fetched_rows`. `none` is left out where `pipeline` is there: it fetches the
    same.
    """
    from matplotlib.ticker import EngFormatter

    tables = dict(_by_policy(minibatches))
    if "pipeline" in tables:
        tables.pop("none", None)
    number = 0
    for policy, table in tables.items():
        axis.plot(
            table["fetched_rows"].to_numpy(), lw=1, color=colour_of(policy, number), label=label_of(policy),
            zorder=2.5 if policy == "MIN" else 2,
        )  # fmt: skip
        number += policy not in ("none", "pipeline", "MIN")
    axis.yaxis.set_major_formatter(EngFormatter(sep=""))
    axis.set(ylabel="fetched rows, all trainers", ylim=(0, None))
    return _over_run(minibatches, axis)


def mark_decisions(decisions: pl.DataFrame, axis: Axes) -> Axes:
    """Marks along the lower edge: where a decision to replace applied, and where one to skip did.

    Takes `applied_minibatch` (run-wide, null for one that never applied) and `replace`, as in `decisions.parquet`.
    """
    at = axis.get_xaxis_transform()
    applied = decisions.filter(pl.col("applied_minibatch").is_not_null())
    for replace, label, colour, height in ((False, "skipped", GREY, 0.015), (True, "replaced", VERMILLION, 0.045)):
        found = applied.filter(pl.col("replace") == replace)["applied_minibatch"].unique().to_numpy()
        if len(found):
            axis.plot(found, np.full(len(found), height), "|", ms=7, color=colour, transform=at, label=label)
    return axis


def step_breakdown(minibatches: pl.DataFrame, axis: Axes) -> Axes:
    """What the mean step is made of: two bars a policy, in milliseconds.

    The upper one is the step itself: stall, compute, waiting for the slowest trainer, all-reduce and update. The lower
    one is what preparing a minibatch takes, sampling and fetching: in a pipelined run it goes on during the step
    before, and only what sticks out of that is stall. Takes `policy` and the times of `sim.simulation.trainer.TIMED`.
    """
    columns = ("stall_s", "compute_s", "wait_s", "step_s", "sample_s", "fetch_s")
    means = minibatches.group_by("policy", maintain_order=True).agg(pl.col(columns).mean())
    means = means.with_columns(
        (pl.col("step_s") - pl.sum_horizontal("stall_s", "compute_s", "wait_s")).alias("reduce_s")
    )
    places = np.arange(means.height)
    for parts, offset, height in ((PARTS, -0.16, 0.38), (PREPARED, 0.2, 0.22)):
        left = np.zeros(means.height)
        for column, (label, colour, hatch) in parts.items():
            width = 1e3 * means[column].to_numpy()
            axis.barh(
                places + offset, width, height, left=left, color=colour, hatch=hatch, ec="white", lw=0.5, label=label
            )
            left += width
        if parts is PARTS:
            for place, end in zip(places, left, strict=True):
                axis.text(end, place + offset, f" {end:.1f}", va="center", fontsize="small")
    axis.set_yticks(places, [label_of(policy) for policy in means["policy"]])
    axis.invert_yaxis()
    axis.margins(x=0.08)
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
    axis.set_xlabel("mean of all minibatches (ms); above the step, below preparing a minibatch")
    axis.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
    return axis


def _by_policy(minibatches: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of every policy, summed over trainers, in the run's order."""
    for (policy,), table in minibatches.group_by("policy", maintain_order=True):
        numbers = [name for name in ("remote_rows", "hit_rows", "fetched_rows") if name in table.columns]
        yield str(policy), table.group_by("epoch", "minibatch").agg(pl.col(numbers).sum()).sort("epoch", "minibatch")


def _over_run(minibatches: pl.DataFrame, axis: Axes) -> Axes:
    per_epoch = int(minibatches["minibatch"].max()) + 1  # type: ignore[arg-type]
    epochs = int(minibatches["epoch"].max()) + 1  # type: ignore[arg-type]
    for epoch in range(1, epochs):
        axis.axvline(epoch * per_epoch - 0.5, lw=0.5, color="#DDDDDD", zorder=0)
    axis.set(xlabel=f"minibatch of the run ({epochs} epochs of {per_epoch})", xlim=(0, epochs * per_epoch - 1))
    return axis
