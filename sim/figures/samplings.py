"""Sampled runs beside each other: batch sizes, fanouts, machines and trainers, with the best policy of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.figures.sweep import name_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHADED = {
    "epoch_s_mean": ("mean epoch (predicted, s)", 1.0),
    "epoch_fetched_bytes": ("fetched an epoch by all trainers (exact, MB)", 1e-6),
}
"""What a cell shows, and in what unit."""


def samplings(board: pl.DataFrame, axis: Axes, value: str = "epoch_s_mean") -> Axes:
    """Batch sizes by fanouts: the smallest `value` in each cell, and the policy that has it. Darker is larger.

    Takes a leaderboard of runs over sampled traces, of one number of machines and of trainers.
    """
    from matplotlib.colors import LinearSegmentedColormap

    label, scale = SHADED[value]
    best = best_of_samplings(board, value).with_columns(pl.col(value) * scale)
    batches, fanouts = sorted(best["batch"].unique()), sorted(best["fanout"].unique(), key=_width)
    cells = np.full((len(fanouts), len(batches)), np.nan)
    names: dict[tuple[int, int], str] = {}
    for row in best.iter_rows(named=True):
        place = fanouts.index(row["fanout"]), batches.index(row["batch"])
        cells[place], names[place] = row[value], row["name"]
    shades = LinearSegmentedColormap.from_list("rudder", ["#FFFFFF", "#E69F00"])
    axis.pcolormesh(cells, cmap=shades, vmin=0.0, vmax=float(np.nanmax(cells)), ec="white", lw=1.5)
    for (fanout, batch), name in names.items():
        text = f"{cells[fanout, batch]:,.3g}\n{name}"
        axis.text(batch + 0.5, fanout + 0.5, text, ha="center", va="center", fontsize="small")
    axis.set_xticks(np.arange(len(batches)) + 0.5, [f"{batch:,.0f}" for batch in batches])
    axis.set_yticks(np.arange(len(fanouts)) + 0.5, fanouts)
    axis.set(xlabel=f"seeds a minibatch; in the cells: {label}, and the best policy", ylabel="fanout")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return axis


def best_of_samplings(board: pl.DataFrame, value: str) -> pl.DataFrame:
    """The row with the smallest `value` of every batch size and fanout, no bound among them, with its `name`."""
    real = board.filter(~pl.col("bound"), pl.col(value).is_not_null())
    real = real.with_columns(name_of(real)).sort(value, "name")
    return real.unique(["batch", "fanout"], keep="first", maintain_order=True)


def _width(fanout: str) -> tuple[int, list[int]]:
    """To sort by: how many layers, then how wide."""
    widths = [int(one) for one in fanout.split(",")]
    return len(widths), widths
