"""Fitting the cost model to a captured run: the work under which the simulator's own run takes as long as the real one.

The simulator runs what was captured, under the policy and on the cluster of the capture. What it then takes longer or
shorter than measured is put down to the work, and it runs again: so contention for cores and links is taken out of the
measured times in the same model that later puts it in again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sim.calibration.covered import basis_of
from sim.calibration.measured_run import MEASURED, MeasuredRun, handoff_latencies_s, prepared_at
from sim.calibration.regression import fit_regression, line
from sim.cost.model import PARTS, CostModel
from sim.cost.service_demand import UNBUFFERED
from sim.counts.cache_replay import FetchCounts
from sim.workload.load import TrainerInput
from traces.errors import InputError
from traces.header import Header

FITTED_EPOCHS = 4
"""From the start, the first of them being warm-up; the rest of a longer run is held out."""

ROUNDS, CLOSE_SHARE = 10, 0.002
"""How often the run is simulated at most, and how close contention factors must come."""

SERVER_S = 0.3e-3
TRANSFER_S_PER_BYTE = 2.5e-9
GIL_SLOWDOWN = 1.4
"""Not in any trace, because they are spent by threads that no trainer waits for, or show in two runs only; from the
processor clocks of all threads of captured runs (docs/validation/time.md tells how)."""

BUFFER_S_PER_ROW = 0.4e-6
STEP_OVERHEAD_S = 0.1e-3
HANDOFF_LATENCY_S = 1e-3
"""Nor are these in a run without buffers, one that prepares ahead, and one that doesn't; it is what such runs were
fitted with (docs/validation/time.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A captured run and the cost model fitted to it. `errors` has a standard error by name of a
    parameter, `doubts` says which parameters the run can't tell apart."""

    cost: CostModel
    errors: dict[str, float]
    doubts: list[str]
    measured_run: MeasuredRun


def fit(
    inputs: list[TrainerInput],
    header: Header,
    name: str,
    sha256: str = "captured",
    fetch_counts: list[FetchCounts] | None = None,
) -> Fitted:
    """Fit to the first epochs of a captured run. Raises `InputError` for one with buffers, unless `fetch_counts` says
    what those held.

    A server reads a row as the local gather does. What the simulated fetch leaves of the measured one is split by least
    squares into a part a fetch and a part a row.
    """
    if fetch_counts is None and header.policy not in UNBUFFERED:
        raise InputError(
            f"{name}: captured under policy {header.policy!r}; cost models are fitted on none or pipeline: give --cost"
        )
    if fetch_counts is None:
        inputs = [one.head(FITTED_EPOCHS * header.minibatches_per_epoch) for one in inputs]
    run = MeasuredRun(inputs, header, sha256, fetch_counts)
    measured, rows = run.measured(), run.fetched()
    gathered_s = float(measured["local_gather_s"].sum()) / max(int(run.gathered().sum()), 1)
    share = dict.fromkeys(PARTS, 1.0)
    cost = CostModel(
        request_s=0.0,
        server_s_per_row=gathered_s,
        scatter_s_per_row=0.0,
        server_s=SERVER_S,
        transfer_s_per_byte=TRANSFER_S_PER_BYTE,
        gil_slowdown=GIL_SLOWDOWN,
        step_overhead_s=STEP_OVERHEAD_S,
        handoff_latency_s=HANDOFF_LATENCY_S,
        buffer_s_per_row=BUFFER_S_PER_ROW,
        contention_factors={sha256: share},
        fitted_on=name,
    )
    if not run.depth:
        cost = replace(cost, step_overhead_s=_step_overhead_s(measured))
    for _ in range(ROUNDS):
        simulated = run.simulated(cost)
        late_s = measured["fetch_s"] - simulated["fetch_s"]
        request_s, scatter_s = line(rows.ravel(), late_s.ravel())[:2]
        ratios = {}
        for part, name_s in MEASURED.items():
            took_s = float(simulated[name_s].mean())
            ratios[part] = float(measured[name_s].mean()) / took_s if part != "label" and took_s else 1.0
        ratios["label"] = ratios["compute"]  # labels of other hosts wait for them
        if run.depth:
            ratios["switch"] = handoff_latencies_s(measured) / max(handoff_latencies_s(simulated), 1e-9)
            cost = replace(cost, handoff_latency_s=cost.handoff_latency_s * _bounded(ratios["switch"]))
        share = {part: share[part] * _bounded(ratios[part]) for part in PARTS}
        cost = replace(
            cost,
            request_s=max(cost.request_s + request_s / 2, 0.0),  # half, because what is late in one fetch delays others
            scatter_s_per_row=max(cost.scatter_s_per_row + scatter_s / 2, 0.0),
            server_s_per_row=gathered_s * share["gather"],
            contention_factors={sha256: share},
        )
        if max(abs(ratio - 1) for ratio in ratios.values()) < CLOSE_SHARE:
            break
    errors: dict[str, float] = {}
    doubts: list[str] = []
    _, _, errors["request_s"], errors["scatter_s_per_row"], identifiable = line(rows.ravel(), late_s.ravel())
    if not identifiable:
        doubts.append("request_s and scatter_s_per_row: all minibatches fetch the same number of rows")
    regression = fit_regression([run], cost, [1.0], errors, doubts)
    if fetch_counts is not None:
        buffer_s = float(measured["copy_s"].sum()) * share["compute"]
        cost = replace(
            cost, buffer_s_per_row=buffer_s / max(int(run.counted(lambda one: one.stream.remote_rows).sum()), 1)
        )
    cost = replace(cost, regression=regression, basis=basis_of([run], errors))
    return Fitted(cost, errors, doubts, run)


def _bounded(ratio: float) -> float:
    """By which something is changed in one round."""
    return min(max(ratio, 0.3), 3.0)


def _step_overhead_s(measured: dict[str, NDArray[np.float64]]) -> float:
    """What passes in a step between its parts, as far as a trace shows it, where these take turns."""
    preparing_s = prepared_at(measured) - measured["prepare_start_s"]
    return max(float(np.median(measured["stall_s"] - preparing_s)), 0.0)
