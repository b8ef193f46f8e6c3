"""Many configurations beside each other: tables of `sim.sweeps.leaderboard`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.caches.registry import may_ask_policy
from sim.figures.style import FIXED, GREEN, GREY, LABELS, OTHERS
from traces.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")
SHARES = {
    "vs_none": "mean epoch time against DistDGL as it is",
    "vs_pipeline": "mean epoch time against pipelining without a buffer",
}


def name_of(board: pl.DataFrame) -> pl.Series:
    """What to call each configuration: its cache, and its policy where the cache asks one; "none" and "pipeline"."""
    asks = [name for name in board["cache"].unique() if may_ask_policy(name)]
    named = (
        pl.when(pl.col("buffer_rows") == 0)
        .then(pl.col("agent"))
        .when(pl.col("cache").is_in(asks))
        .then(pl.col("cache") + ", " + pl.col("agent"))
        .otherwise(pl.col("cache"))
    )
    return board.select(named.alias("name"))["name"]


def hit_rates(board: pl.DataFrame, axis: Axes) -> Axes:
    """Hit rate over the bytes of a trainer's buffer: a curve a cache and policy, and MIN (`sim.counts.bound`).

    Takes a leaderboard of one trace and universe; configurations that differ in their links alone are one. The legend
    is in the order of the curves at the largest buffer. Raises `InputError` for runs of a version that kept no hits of
    MIN.
    """
    from matplotlib.ticker import PercentFormatter

    if "min_hit_rows" not in board.columns:
        raise InputError("these runs have no min_hit_rows: an earlier version made them; simulate them again")
    buffered = board.filter((pl.col("buffer_rows") > 0) & ~pl.col("bound"))
    buffered = buffered.with_columns(name_of(buffered))
    bytes_and_rate = pl.col("buffer_bytes").mean(), pl.col("hit_rate_remote").mean()
    curves = buffered.group_by("name", "buffer", maintain_order=True).agg(*bytes_and_rate).sort("buffer_bytes")
    order = curves.group_by("name", maintain_order=True).agg(pl.col("hit_rate_remote").last())
    order = order.sort("hit_rate_remote", descending=True)
    frontier = board.filter(pl.col("buffer_rows") > 0).group_by("buffer").agg(
        pl.col("buffer_bytes").mean(), (pl.col("min_hit_rows") / pl.col("remote_rows")).first().alias("rate")
    ).sort("buffer_bytes")  # fmt: skip
    megabytes, best = frontier["buffer_bytes"].to_numpy() / 1e6, frontier["rate"].to_numpy()
    axis.plot(megabytes, best, color=GREEN, lw=2.5, label=LABELS["MIN"])
    axis.fill_between(megabytes, best, 1, color=GREEN, alpha=0.08, lw=0)
    for number, name in enumerate(order["name"]):
        curve = curves.filter(name=name)
        axis.plot(
            curve["buffer_bytes"] / 1e6, curve["hit_rate_remote"], label=name, color=OTHERS[number % len(OTHERS)],
            marker=MARKERS[number % len(MARKERS)], ls=DASHES[number // len(OTHERS) % len(DASHES)],
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks(
        megabytes, [f"{size:.3g}\n{share}" for size, share in zip(megabytes, frontier["buffer"], strict=True)]
    )
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="buffer of a trainer (MB; as configured)", ylabel="hits of all remote rows")
    axis.margins(x=0.03)
    axis.set_ylim(0, min(1.0, 1.15 * float(best.max())))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return axis


def epoch_times(board: pl.DataFrame, axis: Axes, named: int = 8) -> Axes:
    """Mean epoch time over the bytes of a trainer's buffer, with the Pareto front: what no other betters in both.

    Takes a leaderboard of one trace, rate of links, scenario and so on. Up to `named` points of the front get names.
    """
    from sim.sweeps.leaderboard import pareto

    real = board.filter(~pl.col("bound"))
    buffered = real.filter(pl.col("buffer_rows") > 0)
    axis.plot(
        buffered["buffer_bytes"] / 1e6,
        buffered["epoch_s_mean"],
        "o",
        ms=3,
        color=GREY,
        alpha=0.6,
        label="configurations",
    )
    for agent in ("none", "pipeline"):
        seconds = real.filter(agent=agent)["epoch_s_mean"].unique()
        if len(seconds) == 1:  # with several, it would be a stranger to some of the points
            axis.axhline(seconds[0], color=FIXED[agent], ls="--", lw=1.2, label=LABELS[agent])
    front = pareto(buffered)
    front = front.with_columns(name_of(front))
    x, y = front["buffer_bytes"].to_numpy() / 1e6, front["epoch_s_mean"].to_numpy()
    axis.plot(x, y, "D-", color=OTHERS[0], drawstyle="steps-post", label="Pareto front", zorder=3)
    labelled = set(np.linspace(0, front.height - 1, min(named, front.height)).round().astype(int).tolist())
    for number, name in enumerate(front["name"]):
        if number in labelled:
            axis.annotate(
                name, (x[number], y[number]), xytext=(4, -4), textcoords="offset points", fontsize="x-small", va="top",
                color=OTHERS[0],
            )  # fmt: skip
    axis.margins(x=0.12, y=0.1)
    axis.set(xlabel="buffer of a trainer (MB)", ylabel="mean epoch time (simulated, s)")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axis


def heat_map(
    table: pl.DataFrame, axis: Axes, value: str = "vs_pipeline", rows: str = "name", columns: str = "scenario"
) -> Axes:
    """Policies (`rows`) by scenarios (`columns`): a share above or below 0 in every cell, such as the time saved.

    The best policy is at the top; the best of every scenario is set in bold. Blue is below 0 (shorter), orange above.
    """
    from matplotlib.colors import LinearSegmentedColormap

    wide = table.pivot(columns, index=rows, values=value, aggregate_function="mean", maintain_order=True)
    scenarios = wide.columns[1:]
    wide = wide.with_columns(pl.mean_horizontal(scenarios).alias("_mean")).sort("_mean", nulls_last=True).drop("_mean")
    cells = wide.select(scenarios).to_numpy().astype(float)
    colours = LinearSegmentedColormap.from_list("rudder", ["#0072B2", "#FFFFFF", "#E69F00"])
    limit = float(np.nanmax(np.abs(cells))) or 1.0
    axis.pcolormesh(cells, cmap=colours, vmin=-limit, vmax=limit, ec="white", lw=1.5)
    best = np.nanmin(cells, axis=0)
    for (row, column), share in np.ndenumerate(cells):
        if np.isfinite(share):
            weight = "bold" if share == best[column] else "normal"
            dark = share < -0.6 * limit
            axis.text(
                column + 0.5, row + 0.5, f"{share:+.1%}", ha="center", va="center", fontsize="small", weight=weight,
                color="white" if dark else "black",
            )  # fmt: skip
    axis.set_xlabel(SHARES.get(value, value))
    axis.set_xticks(np.arange(len(scenarios)) + 0.5, scenarios)
    axis.set_yticks(np.arange(wide.height) + 0.5, wide[rows])
    axis.invert_yaxis()
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return axis
