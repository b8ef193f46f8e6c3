"""Runs that nobody made: what a cost model of other runs says of their times, and how far beyond those it reaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from sim.calibration.covered import quantities
from sim.calibration.fit import fit
from sim.cost.basis import QUANTITIES, Basis
from sim.cost.model import CostModel, read_cost
from sim.workload.load import TrainerInput, load
from traces.checksum import sha256_of
from traces.errors import InputError
from traces.header import Header
from traces.reader import Trace

LAYERED = ("sample_s", "compute_s")
"""Constants of the regression that every layer adds to."""

NOTICED_BEYOND = 1.1
"""So many times above the most, or below the least, that captured runs had, is said."""

SHOWN = {
    "sample_s_per_edge": (1e9, "ns a sampled edge"),
    "gather_s_per_row": (1e9, "ns a local row"),
    "compute_s_per_row": (1e9, "ns an input node"),
    "allreduce_s_per_round": (1e3, "ms a round of the all-reduce"),
    "sample_s": (1e3, "ms of sampling a layer"),
    "compute_s": (1e3, "ms of computing a layer"),
}
"""Parameters of the regression as they are printed: in what unit, of what."""

INTERVAL = 1.96
"""Standard errors to either side that hold 95 % of a normal distribution."""


def given_cost(cost: CostModel | Path | str | None, like: Path | str | None = None) -> CostModel | None:
    """The cost model that is meant: `cost`, or that of a file of `sim.calibrate`, or one fitted to `like`, a captured
    run; None for that of the trace itself.

    Raises `InputError` where both are given, and for files that can't be used.
    """
    if cost is not None and like is not None:
        raise InputError("--cost and --like: both say what things cost; give one of them")
    if like is not None:
        return cost_like(Path(like))
    return read_cost(Path(cost)) if isinstance(cost, str | Path) else cost


def cost_like(path: Path) -> CostModel:
    """The cost model of a captured run. Raises `InputError` for one that can't tell two parameters apart."""
    trace = Trace(path)
    if trace.header.sampled:
        raise InputError(f"--like {path}: was sampled offline itself; name a captured run")
    fitted = fit(load(trace, "halo"), trace.header, path.name, sha256_of(path))
    if fitted.doubts:
        raise InputError(
            f"--like {path}: can't tell apart {'; '.join(fitted.doubts)}; name a run whose minibatches differ in size"
        )
    return fitted.cost


def timed(inputs: list[TrainerInput], header: Header, cost: CostModel | None) -> tuple[Header, CostModel, str, str]:
    """A sampled run as if it had been trained where the runs of a cost model were: its header, what things cost in it,
    that its times are predicted, and how far beyond what was captured. Raises `InputError` where the cost model doesn't
    know."""
    if cost is None:
        raise InputError(
            "the trace was sampled offline, so it has no times: say what things cost with --like CAPTURE, a captured "
            "run, or with --cost, a file of sim.calibrate (sim.run and sim.sweep have these options)"
        )
    if (basis := cost.basis) is None or not cost.regression:
        raise InputError("--cost: the file is of an earlier version; calibrate it anew with python -m sim.calibrate")
    told = predicted_notice(cost, basis), extrapolated_notice(inputs, header, basis)
    return basis.taken_over(header), cost_of_layers(cost, header, basis), *told


def cost_of_layers(cost: CostModel, header: Header, basis: Basis) -> CostModel:
    """The cost model for as many layers as a sampled run has: constants of what is done layer by layer grow alike."""
    share = len(header.training.fanout) / basis.hops
    regression = {name: value * (share if name in LAYERED else 1.0) for name, value in cost.regression.items()}
    return replace(cost, regression=regression)


def predicted_notice(cost: CostModel, basis: Basis) -> str:
    """One line: that times are predicted, from what, with 95 % intervals of the regression's parameters."""
    parts = []
    for name, (scale, unit) in SHOWN.items():
        a_layer = basis.hops if name in LAYERED else 1
        value, error = (one / a_layer * scale for one in (cost.regression[name], basis.errors.get(name, float("nan"))))
        digits = 0 if value >= 10 else 2
        interval = f" ± {INTERVAL * error:,.{digits}f}" if np.isfinite(error) else ""
        parts.append(f"{value:,.{digits}f}{interval} {unit}")
    return f"TIMES PREDICTED from {cost.fitted_on}: {', '.join(parts)}"


def extrapolated_notice(inputs: list[TrainerInput], header: Header, basis: Basis) -> str:
    """One line: what of this run lies beyond all that was captured, and by how much; empty where nothing does.

    Of a minibatch's counts, all but the largest and smallest twentieth must lie within.
    """
    found = []
    for name, values in quantities(inputs, header).items():
        least, most = basis.ranges[name]
        low, high = (float(one) for one in np.percentile(values, (5, 95)))
        if high > most * NOTICED_BEYOND:
            found.append(
                f"{QUANTITIES[name]} up to {high:,.0f}, {high / max(most, 1):.1f} times the captured {most:,.0f}"
            )
        elif low < least / NOTICED_BEYOND:
            found.append(
                f"{QUANTITIES[name]} down to {low:,.0f}, {low / max(least, 1):.2f} of the captured {least:,.0f}"
            )
    if header.graph.name != basis.graph.name:
        found.append(f"graph {header.graph.name} (captured: {basis.graph.name})")
    if header.graph.feature_bytes != basis.graph.feature_bytes:
        found.append(f"rows of {header.graph.feature_bytes} bytes (captured: {basis.graph.feature_bytes})")
    return f"EXTRAPOLATED beyond what was captured: {'; '.join(found)}" if found else ""
