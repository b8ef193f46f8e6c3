"""The picture of one run: time an epoch, and the rows fetched over the run, with the bound."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import polars as pl

from traces.errors import ctrl_c_ignored

REPLACED = "#D55E00"


class Artist:
    """A process that draws figures. It imports matplotlib while this process simulates, and ends with it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._connection, there = context.Pipe()
        process = context.Process(target=_draw, args=(there,), daemon=True)
        with ctrl_c_ignored():
            process.start()
        there.close()

    def begin(self, *figure: Any) -> Callable[[], bytes]:
        """Draw a figure: takes what `draw` takes, and gives the function that waits for the PNG."""
        with suppress(BrokenPipeError):
            self._connection.send(figure)

        def finish() -> bytes:
            try:
                return self._connection.recv()
            except EOFError:  # the other process has died
                return draw(*figure)

        return finish


def _draw(connection: Connection) -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401

    import sim.figures  # noqa: F401

    with suppress(EOFError):  # the run ended before there was anything to draw
        connection.send(draw(*connection.recv()))


def draw(
    agent: str, tables: dict[str, pl.DataFrame], epoch_s: dict[str, float], bound: pl.Series | None, caption: str
) -> bytes:
    """A PNG of the run of `agent` beside the baselines in `tables` (minibatch tables by policy).

    `bound` holds the rows that MIN fetches in each minibatch, summed over trainers.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sim import figures

    named = [table.with_columns(pl.lit(policy).alias("policy")) for policy, table in tables.items()]
    buffer = io.BytesIO()
    with rc_context(fname=figures.STYLE):
        figure = Figure(figsize=(10, 4), layout="none")  # type: ignore[arg-type]
        # margins by hand: matplotlib's layouts draw everything twice
        left, right = figure.subplots(1, 2, width_ratios=[1, 2])
        figure.subplots_adjust(left=0.06, right=0.99, bottom=0.2, top=0.92, wspace=0.18)
        bars = left.bar(list(epoch_s), list(epoch_s.values()), color=[figures.colour_of(name) for name in epoch_s])
        left.bar_label(bars, fmt="%.2f s", padding=2)
        left.set_ylabel("mean epoch time (simulated, s)")
        left.margins(y=0.15)
        figures.fetched_rows(pl.concat(named), right)
        if bound is not None:
            right.plot(bound, lw=1, color=figures.colour_of("MIN"), label="MIN (bound)")
        replaced = np.flatnonzero(_by_minibatch(tables[agent], "replacement_rows"))
        if len(replaced):
            right.plot(replaced, np.zeros(len(replaced)), "|", color=REPLACED, ms=7, label="rows replaced")
        right.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
        figures.caption(figure, caption)
        figure.set_dpi(144)
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _by_minibatch(table: pl.DataFrame, column: str) -> np.ndarray:
    trainers = table["rank"].n_unique()
    return table[column].to_numpy().reshape(trainers, -1).sum(0)
