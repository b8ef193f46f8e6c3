"""Figures of accesses: tables of `traces.accesses`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from sim.figures.style import GREEN, OTHERS, VERMILLION
from sim.figures.sweep import DASHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def popularity(accesses: pl.DataFrame, axis: Axes) -> Axes:
    """The share of all remote rows that the most popular nodes make up: a curve a trainer.

    What a static buffer could serve at best lies on the curve. Takes `rank` and `accesses`, as in
    `traces.accesses.popularity`.
    """
    from matplotlib.ticker import PercentFormatter

    for number, ((rank,), table) in enumerate(accesses.group_by("rank", maintain_order=True)):
        counts = np.sort(table["accesses"].to_numpy())[::-1]
        share = np.cumsum(counts) / counts.sum()
        axis.plot(np.linspace(0, 1, len(share) + 1)[1:], share, **_line(number), label=f"trainer {rank}")
    axis.plot([0, 1], [0, 1], color="#AAAAAA", lw=0.8, ls=":", label="all nodes alike")
    for which in (axis.xaxis, axis.yaxis):
        which.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="share of the nodes asked for, most popular first", ylabel="share of the remote rows")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.legend(loc="lower right")
    return axis


def reuse(distances: pl.DataFrame, axis: Axes, minibatches_per_epoch: int | None = None) -> Axes:
    """How soon a row is asked for again: the share of the remote rows that come back within so many minibatches.

    What is left above the curve's end is asked for the first time: no cache has it. Takes `rank`,
    `distance_minibatches` (null for a first access), `rows` of `traces.accesses.reuse`.
    """
    from matplotlib.ticker import PercentFormatter

    for number, ((rank,), table) in enumerate(distances.group_by("rank", maintain_order=True)):
        again = table.drop_nulls("distance_minibatches").sort("distance_minibatches")
        share = again["rows"].cum_sum() / table["rows"].sum()
        axis.plot(
            again["distance_minibatches"], share, **_line(number), drawstyle="steps-post", label=f"trainer {rank}"
        )
    if minibatches_per_epoch:
        axis.axvline(minibatches_per_epoch, color=VERMILLION, ls="--", lw=1, label="an epoch")
    axis.set_xscale("log")
    axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.set(xlabel="minibatches until the row is asked for again", ylabel="share of the remote rows", ylim=(0, 1))
    axis.legend(loc="upper left")
    return axis


def _line(number: int) -> dict[str, Any]:
    colours = (*OTHERS[:2], GREEN, *OTHERS[2:])
    return {"color": colours[number % len(colours)], "ls": DASHES[number % len(DASHES)]}
