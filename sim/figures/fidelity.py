"""Predicted against measured times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.figures.style import GREY, colour_of
from sim.figures.sweep import MARKERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def predicted(table: pl.DataFrame, axis: Axes, band: float = 0.05) -> Axes:
    """Predicted over measured seconds, with the line on which both agree and a band of that share on either side.

    Takes `policy`, `measured_s`, `predicted_s`. The legend gives each policy's mean error, signed.
    """
    seconds = table.select("measured_s", "predicted_s").to_numpy()
    span = float(np.ptp(seconds)) or float(seconds.max())
    ends = np.array([max(seconds.min() - 0.1 * span, 0.0), seconds.max() + 0.1 * span])
    axis.plot(ends, ends, color="#000000", lw=0.8)
    axis.fill_between(
        ends, ends * (1 - band), ends * (1 + band), color=GREY, alpha=0.2, lw=0, label=f"within {band:.0%}"
    )
    others = 0
    for number, ((policy,), rows) in enumerate(table.group_by("policy", maintain_order=True)):
        error = float((rows["predicted_s"] / rows["measured_s"] - 1).mean())  # type: ignore[arg-type]
        axis.plot(
            rows["measured_s"], rows["predicted_s"], MARKERS[number % len(MARKERS)],
            color=colour_of(str(policy), others),
            mec="white", mew=0.5, ms=6, label=f"{policy} ({error:+.1%})",
        )  # fmt: skip
        others += policy not in ("none", "pipeline")
    axis.set(xlim=ends, ylim=ends, aspect="equal", xlabel="measured epoch (s)", ylabel="predicted epoch (s)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return axis
