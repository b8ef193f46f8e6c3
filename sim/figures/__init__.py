"""Figures: each function draws a data frame on a matplotlib axis, and returns the axis.

The frames are those of `sim.runs.run.Run`, of `sim.sweep`, and of `traces.accesses`. A figure of your own looks like
these if `panels` begins it; `caption` writes below it where its data come from."""

from sim.figures.access import popularity, reuse
from sim.figures.agents import latency, regret
from sim.figures.fidelity import predicted
from sim.figures.minibatches import fetched_rows, hit_rate, mark_decisions, step_breakdown
from sim.figures.samplings import best_of_samplings, samplings
from sim.figures.style import STYLE, caption, colour_of, panels
from sim.figures.sweep import epoch_times, heat_map, hit_rates, name_of

__all__ = [
    "STYLE", "best_of_samplings", "caption", "colour_of", "epoch_times", "fetched_rows", "heat_map", "hit_rate",
    "hit_rates", "latency", "mark_decisions", "name_of", "panels", "popularity", "predicted", "regret", "reuse",
    "samplings", "step_breakdown",
]  # fmt: skip
