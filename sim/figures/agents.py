"""Agents: how good their decisions were, and how long they thought. Tables of `sim.runs.judging.judge` and of
decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from sim.figures.style import BLUE, GREY, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def regret(judged: pl.DataFrame, axis: Axes) -> Axes:
    """Mean regret of an agent's decisions: the rows that its branch fetched beyond the better one; smaller is better.

    Takes `agent`, `regret_rows`, `right` of judged decisions, and `control` (True for the random gate that replaces as
    often; a mark beside the agent's bar). Beside them stands pass@1, the share of decisions that took no worse branch.
    """
    means = judged.group_by("agent", "control").agg(pl.col("regret_rows").mean(), pl.col("right").mean())
    agents = means.filter(~pl.col("control")).sort("regret_rows", "agent")
    places = np.arange(agents.height)
    axis.barh(places, agents["regret_rows"], 0.6, color=BLUE, label="agent")
    controls = dict(means.filter("control").select("agent", "regret_rows").iter_rows())
    controls_drawn = [(controls[agent], place) for place, agent in enumerate(agents["agent"]) if agent in controls]
    if controls_drawn:
        axis.plot(
            *zip(*controls_drawn, strict=True), "D", color=VERMILLION, mec="white", label="random gate of the same rate"
        )
    for place, (agent, rows, share) in enumerate(agents.select("agent", "regret_rows", "right").iter_rows()):
        end = max(rows, controls.get(agent, 0.0))
        axis.annotate(
            f"pass@1 {share:.0%}", (end, place), (8, 0), textcoords="offset points", va="center", size="small"
        )
    axis.set_yticks(places, agents["agent"])
    axis.invert_yaxis()
    axis.margins(x=0.22)
    axis.set_xlim(left=0)
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
    axis.set_xlabel("mean regret of a decision (rows fetched beyond the better branch)")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return axis


def latency(decisions: pl.DataFrame, axis: Axes) -> Axes:
    """How long every agent thought about a decision: all of them as dots, and the median; the scale is logarithmic.

    Takes `agent`, `latency_s`, `outcome`. Agents that answer at once (0 s in the simulation) are left out.
    """
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    slow = decisions.filter(pl.col("latency_s") > 0)
    order = slow.group_by("agent").agg(pl.col("latency_s").median()).sort("latency_s", "agent")
    random = np.random.default_rng(0)  # spreads dots that would hide each other
    for place, (agent, median) in enumerate(order.iter_rows()):
        for valid, colour, label in ((True, BLUE, "valid answer"), (False, GREY, "late, invalid or failed")):
            seconds = slow.filter((pl.col("agent") == agent) & ((pl.col("outcome") == "valid") == valid))["latency_s"]
            heights = place + random.uniform(-0.22, 0.22, len(seconds))
            axis.plot(
                seconds, heights, "o" if valid else "x", ms=3, color=colour, alpha=0.6, label=None if place else label
            )
        axis.plot(
            [median, median], [place - 0.35, place + 0.35], color=VERMILLION, lw=2, label=None if place else "median"
        )
    axis.set_yticks(np.arange(order.height), order["agent"])
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x")
    axis.set_xlabel("latency of a decision")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return axis
