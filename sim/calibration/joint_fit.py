"""One cost model of several captured runs, for runs that it was not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sim.calibration.covered import basis_of
from sim.calibration.fit import BUFFER_S_PER_ROW, HANDOFF_LATENCY_S, STEP_OVERHEAD_S, Fitted
from sim.calibration.measured_run import MEASURED
from sim.calibration.regression import fit_regression
from sim.cost.model import CostModel

PREDICTED_ROUNDS = 4
"""How often runs are simulated by regression."""

LOGNORMAL_SIGMA = 0.3
"""Of the logarithm of demand around its regression, where nothing else runs: under `none`, sampling
has 0.25 to 0.53, computing 0.13 to 0.41, and gathering 0.4 to 0.8. Among 0.1 to 0.4, chosen on the errors of
docs/validation/fidelity.md."""


def joint_fit(fits: list[Fitted], weights: list[float] | None = None) -> tuple[CostModel, dict[str, float]]:
    """One cost model of several runs, and its standard errors. Runs count by `weights`, all the same without them.

    The regression is least squares over all runs, each with its own contention factors. Other parameters are means.
    Then all runs are simulated by regression, as runs are that the model was not fitted on. Where their parts, fetches
    and steps take longer or shorter than measured, on average, the regression, `request_s` and `straggler_delay_s` are
    corrected, as in `fit`.
    """
    if len(fits) == 1:
        return fits[0].cost, fits[0].errors
    weight = np.array(weights or [1.0] * len(fits))
    weight = weight / weight.sum()
    runs = [one.measured_run for one in fits]

    def mean(values: list[float]) -> float:
        return float((weight * np.array(values)).sum())

    errors: dict[str, float] = {}
    for name in ("request_s", "scatter_s_per_row"):
        values = [getattr(one.cost, name) for one in fits]
        errors[name] = float(np.sqrt((weight**2 * (np.array(values) - mean(values)) ** 2).sum()))
    handovers = [one.cost.step_overhead_s for one in fits if not one.measured_run.depth]
    switches = [one.cost.handoff_latency_s for one in fits if one.measured_run.depth]
    buffers = [one.cost.buffer_s_per_row for one in fits if one.measured_run.fetch_counts is not None]
    contention_factors = {sha256: share for one in fits for sha256, share in one.cost.contention_factors.items()}
    cost = replace(
        fits[0].cost,
        request_s=mean([one.cost.request_s for one in fits]),
        scatter_s_per_row=mean([one.cost.scatter_s_per_row for one in fits]),
        server_s_per_row=mean([one.cost.server_s_per_row for one in fits]),
        step_overhead_s=float(np.mean(handovers)) if handovers else STEP_OVERHEAD_S,
        handoff_latency_s=float(np.mean(switches)) if switches else HANDOFF_LATENCY_S,
        buffer_s_per_row=float(np.mean(buffers)) if buffers else BUFFER_S_PER_ROW,
        lognormal_sigma=LOGNORMAL_SIGMA,
        contention_factors=contention_factors,
        fitted_on=", ".join(one.cost.fitted_on for one in fits),
    )
    cost = replace(cost, regression=fit_regression(runs, cost, weight.tolist(), errors, []))
    measured = [run.measured() for run in runs]
    for _ in range(PREDICTED_ROUNDS):
        simulated = [run.simulated(cost, predicted=True) for run in runs]
        both = list(zip(measured, simulated, strict=True))
        ratios = {
            part: float(np.exp(mean([_log_ratio(real[name_s], made[name_s]) for real, made in both])))
            for part, name_s in MEASURED.items()
        }
        ratios["label"] = ratios["compute"]
        regression = {
            name: value * next((ratio for part, ratio in ratios.items() if name.startswith(f"{part}_s")), 1.0)
            for name, value in cost.regression.items()
        }
        late_s = mean([float(real["fetch_s"].mean() - made["fetch_s"].mean()) for real, made in both])
        slow = mean([_log_ratio(real["step_s"], made["step_s"]) for real, made in both])
        step_s = mean([float(real["step_s"].mean()) for real in measured])
        cost = replace(
            cost,
            regression=regression,
            request_s=max(cost.request_s + late_s / 2, 0.0),
            server_s_per_row=cost.server_s_per_row * ratios["gather"],
            buffer_s_per_row=cost.buffer_s_per_row * ratios["compute"],
            straggler_delay_s=max(cost.straggler_delay_s + 0.7 * slow * step_s, 0.0),
        )
    return replace(cost, basis=basis_of(runs, errors)), errors


def _log_ratio(real_s: NDArray[np.float64], made_s: NDArray[np.float64]) -> float:
    """Of the means; 0 where there is none to take."""
    real, made = float(real_s.mean()), float(made_s.mean())
    return float(np.clip(np.log(real / made), -1, 1)) if real > 0 and made > 0 else 0.0
