"""The regression of a cost model: the demand of every part over what it depends on, by least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.calibration.measured_run import MEASURED, MeasuredRun
from sim.cost.model import CostModel
from sim.cost.service_demand import REGRESSION, rounds


def fit_regression(
    runs: list[MeasuredRun], cost: CostModel, weights: list[float], errors: dict[str, float], doubts: list[str]
) -> dict[str, float]:
    """Every part's work over what it depends on, by least squares over all minibatches of all trainers of all runs,
    each run with its weight."""
    regression: dict[str, float] = {}
    measured = [run.measured() | {"sample_s": run.own_sampling_s()} for run in runs]
    contention_factors = [cost.contention_factors[run.sha256] for run in runs]
    for part, (constant, slope, counts) in REGRESSION.items():
        work_s = [
            times[MEASURED[part]] * share[part] for times, share in zip(measured, contention_factors, strict=True)
        ]
        if part == "label":  # of the trainer that has most of them at home
            quickest = [int(np.argmin(np.median(one, axis=1))) for one in work_s]
            work_s = [one[rank] for one, rank in zip(work_s, quickest, strict=True)]
        y, weight = _joined(work_s, weights)
        if not slope:
            regression[constant] = float((weight * y).sum())
            errors[constant] = float(np.sqrt((weight**2 * (y - regression[constant]) ** 2).sum()))
            continue
        over = [run.gathered() if part == "gather" else run.counted(counts) for run in runs]
        x = _joined(over, weights)[0]
        regression[constant], regression[slope], errors[constant], errors[slope], identifiable = line(x, y, weight)
        if not identifiable:
            doubts.append(f"{constant} and {slope}: all minibatches are of the same size")
    y, weight = _joined(
        [
            times["allreduce_s"].mean(axis=0) * share["allreduce"] / rounds(len(run.inputs))
            for run, times, share in zip(runs, measured, contention_factors, strict=True)
        ],
        weights,
    )
    regression["allreduce_s_per_round"] = float((weight * y).sum())
    errors["allreduce_s_per_round"] = float(np.sqrt((weight**2 * (y - regression["allreduce_s_per_round"]) ** 2).sum()))
    return regression


def _joined(values: list[NDArray[Any]], weights: list[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of several runs one after another, and the weight of each, 1 in all."""
    every = np.concatenate([one.ravel() for one in values]).astype(np.float64)
    weight = np.concatenate([np.full(one.size, w / one.size) for one, w in zip(values, weights, strict=True)])
    return every, weight / weight.sum()


LEAST_SPREAD = 0.05
"""A count must spread by this share of its mean; otherwise slope and constant can't be identified separately."""


def line(
    x: NDArray[Any], y: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> tuple[float, float, float, float, bool]:
    """Intercept and slope of y over x by least squares, none below 0, their standard errors, and whether the two can be
    told apart; where they can't, all is slope."""
    weight = np.full(len(x), 1 / len(x)) if weight is None else weight
    mean, total = float((weight * x).sum()), float((weight * x * x).sum())
    spread = float(np.sqrt(max(total - mean**2, 0.0)))
    identifiable = bool(spread > LEAST_SPREAD * abs(mean))
    through = float((weight * x * y).sum()) / total if total else 0.0
    many = 1 / float((weight**2).sum())  # as many values of equal weight tell as much
    if not total:
        return float((weight * y).sum()), 0.0, 0.0, 0.0, identifiable
    if not identifiable:
        left = float((weight * (y - through * x) ** 2).sum())
        return 0.0, through, 0.0, float(np.sqrt(left / total / many)), identifiable
    slope = float((weight * (x - mean) * y).sum() / spread**2)
    intercept = float((weight * y).sum()) - slope * mean
    left = float((weight * (y - slope * x - intercept) ** 2).sum())
    slope_error = float(np.sqrt(left * many / max(many - 2, 1)) / (spread * np.sqrt(many)))
    intercept_error = slope_error * float(np.sqrt(total))
    if slope < 0:
        intercept, slope = float((weight * y).sum()), 0.0
    elif intercept < 0:
        intercept, slope = 0.0, through
    return intercept, slope, intercept_error, slope_error, identifiable
