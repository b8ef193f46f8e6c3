"""The picture of one run: time an epoch, and the rows fetched over the run, with the bound."""

from __future__ import annotations

import io
import signal
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import polars as pl

COLOURS = {"none": "#999999", "pipeline": "#E69F00", "agent": "#0072B2", "bound": "#009E73"}
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""


class Artist:
    """A process that draws, and imports what it needs for that while this one simulates. It ends with this one."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._connection, there = context.Pipe()
        process = context.Process(target=_draw, args=(there,), daemon=True)
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited: Ctrl-C reaches both, and one answers
        process.start()
        signal.signal(signal.SIGINT, interrupted)
        there.close()

    def begin(self, *figure: Any) -> None:
        """Draw a figure: takes what `draw` takes."""
        self._connection.send(figure)

    def finish(self) -> bytes:
        """The figure's PNG."""
        return self._connection.recv()


def _draw(connection: Connection) -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    connection.send(draw(*connection.recv()))


def draw(
    agent: str, tables: dict[str, pl.DataFrame], epoch_s: dict[str, float], bound: pl.Series | None, caption: str
) -> bytes:
    """A PNG of the run of `agent` beside the baselines in `tables` (minibatch tables by policy).

    `bound` holds the rows that MIN fetches in each minibatch, summed over trainers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8))  # with margins by hand: matplotlib's layouts draw everything twice
    left, right = figure.subplots(1, 2, width_ratios=[1, 2])
    figure.subplots_adjust(left=0.06, right=0.99, bottom=0.2, top=0.97, wspace=0.18)
    colours = [COLOURS.get(name, COLOURS["agent"]) for name in epoch_s]
    bars = left.bar(list(epoch_s), list(epoch_s.values()), color=colours)
    left.bar_label(bars, fmt="%.2f s", padding=2)
    left.set_ylabel("mean epoch time (simulated, s)")
    left.margins(y=0.15)
    for name, table in tables.items():
        rows = _by_minibatch(table, "fetched_rows")
        label = "no buffer" if name == "pipeline" else name
        right.plot(rows, lw=1, color=COLOURS.get(name, COLOURS["agent"]), label=label)
    if bound is not None:
        right.plot(bound, lw=1, color=COLOURS["bound"], label="MIN (bound)")
    replaced = np.flatnonzero(_by_minibatch(tables[agent], "replacement_rows"))
    if len(replaced):
        right.plot(replaced, np.zeros(len(replaced)), "|", color="#D55E00", ms=7, label="rows replaced")
    right.set_xlabel("minibatch")
    right.set_ylabel("fetched rows, all trainers")
    right.set_ylim(bottom=0)
    right.legend(ncols=2, frameon=False, fontsize="small")
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(caption, fontsize="x-small", color="#555555")
    buffer = io.BytesIO()
    figure.set_dpi(144)
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _by_minibatch(table: pl.DataFrame, column: str) -> np.ndarray:
    trainers = table["rank"].n_unique()
    return table[column].to_numpy().reshape(trainers, -1).sum(0)
