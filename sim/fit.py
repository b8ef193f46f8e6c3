"""Fitting the cost model to a captured run: the work under which the simulator's own run takes as long as the real one.

The simulator runs what was captured, under the policy and on the cluster of the capture. What it then takes longer or
shorter than measured is put down to the work, and it runs again: so contention for cores and links is taken out of the
measured times in the same model that later puts it in again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.registry import resolve
from sim.config import RunConfig
from sim.cost import PARTS, CostModel
from sim.load import TrainerInput
from sim.simulate import simulate
from sim.topology import from_header
from sim.work import LAWS, rounds
from traces.errors import InputError
from traces.header import Header

FITTED_EPOCHS = 4
"""From the start, the first of them being warm-up; the rest of a longer run is held out."""

ROUNDS, CLOSE_SHARE = 10, 0.002
"""How often the run is simulated at most, and how close shares must come."""

WARM_UP_MINIBATCHES = 2
"""Left out at the start where there is one epoch only: connections open, memory is touched for the first time."""

SERVER_S = 0.3e-3
TRANSFER_S_PER_BYTE = 3.5e-9
TOGETHER = 1.17
"""Not in any trace, because they are spent by threads that no trainer waits for; from the processor clocks of all
threads of a captured run (docs/time.md tells how)."""

MEASURED = {
    "sample": "sample_s",
    "gather": "local_gather_s",
    "label": "label_s",
    "compute": "compute_s",
    "update": "update_s",
    "allreduce": "allreduce_s",
}
"""The time of every part, measured and simulated."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A captured run and the cost model fitted to it. `errors` has a standard error by name of a parameter or law,
    `doubts` says which parameters the run can't tell apart."""

    cost: CostModel
    errors: dict[str, float]
    doubts: list[str]


def warm_up(header: Header) -> int:
    """Minibatches at the start that are set aside: the first epoch, in which connections open and memory is touched
    for the first time."""
    return (
        header.minibatches_per_epoch
        if header.epochs > 1
        else min(WARM_UP_MINIBATCHES, header.minibatches_per_epoch // 2)
    )


def measured_times(inputs: list[TrainerInput]) -> dict[str, NDArray[np.float64]]:
    """The times of the captured run by the simulator's names: shape (trainers, minibatches)."""
    found = {name: np.stack([one.times[name] for one in inputs]) for name in inputs[0].times}
    return found | {"compute_s": found["forward_s"] + found["backward_s"]}


def simulate_captured(
    inputs: list[TrainerInput], header: Header, cost: CostModel, sha256: str
) -> dict[str, NDArray[np.float64]]:
    """The captured run itself, simulated: times of shape (trainers, minibatches)."""
    config = RunConfig(trace="", trace_sha256=sha256, agent=header.policy)
    return simulate(inputs, header, resolve(header.policy), config, cost, from_header(header, None)).times


def fit(inputs: list[TrainerInput], header: Header, name: str, sha256: str = "captured") -> Fitted:
    """Fit to the first epochs of a run that was captured under `none` or `pipeline`. Raises `InputError` otherwise.

    A server reads a row as the local gather does. What the simulated fetch leaves of the measured one is split by least
    squares into a part a fetch and a part a row.
    """
    if header.policy not in ("none", "pipeline"):
        raise InputError(
            f"{name}: captured under policy {header.policy!r}; cost models are fitted on none or pipeline: give --cost"
        )
    fitted = [one.head(FITTED_EPOCHS * header.minibatches_per_epoch) for one in inputs]
    skip = warm_up(header)
    measured = {part: values[:, skip:] for part, values in measured_times(fitted).items()}
    rows = np.stack([one.stream.remote_rows for one in fitted])[:, skip:]
    local_rows = sum(int(one.local_rows[skip:].sum()) for one in fitted)
    gathered_s = float(measured["local_gather_s"].sum()) / max(local_rows, 1)
    share = dict.fromkeys(PARTS, 1.0)
    cost = CostModel(
        request_s=0.0, server_s_per_row=gathered_s, scatter_s_per_row=0.0, server_s=SERVER_S,
        transfer_s_per_byte=TRANSFER_S_PER_BYTE, together=TOGETHER, handover_s=_handover_s(measured, header),
        shares={sha256: share}, fitted_on=name,
    )  # fmt: skip
    for _ in range(ROUNDS):
        simulated = simulate_captured(fitted, header, cost, sha256)
        late_s = measured["fetch_s"] - simulated["fetch_s"][:, skip:]
        request_s, scatter_s = _line(rows.ravel(), late_s.ravel())[:2]
        ratios = {}
        for part, name_s in MEASURED.items():
            took_s = float(simulated[name_s][:, skip:].mean())
            ratios[part] = float(measured[name_s].mean()) / took_s if part != "label" and took_s else 1.0
        ratios["label"] = ratios["compute"]  # labels of other hosts wait for them
        share = {part: share[part] * min(max(ratios[part], 0.3), 3.0) for part in PARTS}
        cost = replace(
            cost,
            request_s=max(cost.request_s + request_s / 2, 0.0),  # half, because what is late in one fetch delays others
            scatter_s_per_row=max(cost.scatter_s_per_row + scatter_s / 2, 0.0),
            server_s_per_row=gathered_s * share["gather"],
            shares={sha256: share},
        )
        if max(abs(ratio - 1) for ratio in ratios.values()) < CLOSE_SHARE:
            break
    errors: dict[str, float] = {}
    doubts: list[str] = []
    _, _, errors["request_s"], errors["scatter_s_per_row"], told = _line(rows.ravel(), late_s.ravel())
    if not told:
        doubts.append("request_s and scatter_s_per_row: all minibatches fetch the same number of rows")
    laws = _laws(fitted, skip, share, errors, doubts)
    return Fitted(replace(cost, laws=laws), errors, doubts)


def _handover_s(measured: dict[str, NDArray[np.float64]], header: Header) -> float:
    """What passes in a step between its parts, as far as a trace shows it."""
    if header.policy != "none":
        return 0.0
    prepared_s = measured["sample_s"] + measured["fetch_s"] + measured["label_s"] + measured["copy_s"]
    return max(float(np.median(measured["stall_s"] - prepared_s)), 0.0)


def _laws(
    fitted: list[TrainerInput], skip: int, share: dict[str, float], errors: dict[str, float], doubts: list[str]
) -> dict[str, float]:
    """Every part's work over what it depends on, by least squares over all minibatches of all trainers."""
    laws: dict[str, float] = {}
    measured = measured_times(fitted)
    quickest = min(range(len(fitted)), key=lambda rank: float(np.median(measured["label_s"][rank])))
    for part, (constant, slope, counts) in LAWS.items():
        work_s = measured[MEASURED[part]][:, skip:] * share[part]
        if not slope:
            kept = work_s[quickest] if part == "label" else work_s.ravel()
            laws[constant], errors[constant] = float(kept.mean()), float(kept.std() / np.sqrt(max(len(kept), 1)))
            continue
        over = np.stack([counts(one) for one in fitted])[:, skip:]
        laws[constant], laws[slope], errors[constant], errors[slope], told = _line(over.ravel(), work_s.ravel())
        if not told:
            doubts.append(f"{constant} and {slope}: all minibatches are of the same size")
    rounds_s = measured["allreduce_s"][:, skip:].mean(axis=0) * share["allreduce"] / rounds(len(fitted))
    laws["allreduce_s_per_round"] = float(rounds_s.mean())
    errors["allreduce_s_per_round"] = float(rounds_s.std() / np.sqrt(len(rounds_s)))
    return laws


LEAST_SPREAD = 0.05
"""A count must spread by this share of its mean, or its slope can't be told from a constant."""


def _line(x: NDArray[Any], y: NDArray[np.float64]) -> tuple[float, float, float, float, bool]:
    """Intercept and slope of y over x by least squares, none below 0, their standard errors, and whether the two can be
    told apart; where they can't, all is slope."""
    told = bool(x.std() > LEAST_SPREAD * abs(x.mean()))
    total = float((x * x).sum())
    if told:
        slope, intercept = np.polyfit(x, y, 1)
        left = y - slope * x - intercept
        slope_error = float(np.sqrt((left**2).sum() / max(len(x) - 2, 1)) / (x.std() * np.sqrt(len(x))))
        intercept_error = slope_error * float(np.sqrt((x * x).mean()))
        if intercept >= 0 and slope >= 0:
            return float(intercept), float(slope), intercept_error, slope_error, told
        if slope < 0:
            return float(y.mean()), 0.0, intercept_error, slope_error, told
        return 0.0, float((x * y).sum() / total), intercept_error, slope_error, told
    if not total:
        return float(y.mean()), 0.0, 0.0, 0.0, told
    slope = float((x * y).sum() / total)
    return 0.0, slope, 0.0, float((y - slope * x).std() / np.sqrt(total)), told


def pooled(fits: list[Fitted]) -> tuple[CostModel, dict[str, float]]:
    """One cost model of several runs, and its standard errors: means weighted by the inverse of their variances, the
    shares of every run its own."""
    if len(fits) == 1:
        return fits[0].cost, fits[0].errors
    cost, errors = fits[0].cost, {}
    numbers: dict[str, float] = {}
    for name in fits[0].errors:
        values = np.array([one.cost.laws[name] if name in one.cost.laws else getattr(one.cost, name) for one in fits])
        weights = 1 / np.maximum(np.array([one.errors[name] for one in fits]), 1e-12) ** 2
        numbers[name] = float((weights * values).sum() / weights.sum())
        errors[name] = float(1 / np.sqrt(weights.sum()))
    return replace(
        cost,
        request_s=numbers.pop("request_s"),
        scatter_s_per_row=numbers.pop("scatter_s_per_row"),
        server_s_per_row=float(np.mean([one.cost.server_s_per_row for one in fits])),
        handover_s=float(np.mean([one.cost.handover_s for one in fits])),
        shares={sha256: share for one in fits for sha256, share in one.cost.shares.items()},
        laws=numbers,
        fitted_on=", ".join(one.cost.fitted_on for one in fits),
    ), errors
