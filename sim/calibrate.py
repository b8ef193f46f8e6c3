"""Fitting the cost model to a trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.registry import resolve
from sim.config import RunConfig
from sim.cost import CostModel
from sim.load import TrainerInput
from sim.simulate import simulate
from sim.topology import from_header
from traces.errors import InputError
from traces.header import Header

FITTED_EPOCHS = 3
"""From the start; the rest of a longer run is held out, and `fetch_error_share` is measured on it."""

ROUNDS = 2
"""Costs shift when fetches overlap, so what the links take is simulated again with the costs found."""

WARM_UP_MINIBATCHES = 2
"""Left out at the start of the run: connections open, memory is touched for the first time."""


def fit(inputs: list[TrainerInput], header: Header, name: str) -> CostModel:
    """The cost model under which the simulator's own fetch of the captured run comes closest to the measured one.

    The server's time a row is taken from the local gather, which is the same operation on the same hosts. What the
    links take is simulated; the rest of every measured fetch is split by least squares into a part a fetch and a part
    a row. Raises `InputError` for a trace of a run that prefetched, because its fetches overlapped with computing.
    """
    if header.policy != "none":
        raise InputError(f"{name}: captured under policy {header.policy!r}; the cost model is fitted on policy none")
    fitted = [one.head(FITTED_EPOCHS * header.minibatches_per_epoch) for one in inputs]
    gathered = sum(float(one.times["local_gather_s"].sum()) for one in fitted)
    gathered_rows = sum(int(one.local_rows.sum()) for one in fitted)
    cost = CostModel(request_s=0.0, server_s_per_row=gathered / max(gathered_rows, 1), scatter_s_per_row=0.0)
    rows = np.stack([one.stream.remote_rows for one in fitted])[:, WARM_UP_MINIBATCHES:]
    for _ in range(ROUNDS):
        request_s, scatter_s = _non_negative_line(rows.ravel(), -fetch_error_s(fitted, header, cost).ravel())
        cost = replace(
            cost,
            request_s=max(cost.request_s + request_s, 0.0),
            scatter_s_per_row=max(cost.scatter_s_per_row + scatter_s, 0.0),
        )
    return replace(cost, fitted_on=name)


def fetch_error_s(inputs: list[TrainerInput], header: Header, cost: CostModel) -> NDArray[np.float64]:
    """Simulated less measured fetch of the captured run: shape (trainers, minibatches after the warm-up)."""
    config = RunConfig(trace="", trace_sha256="", agent="none")
    simulated = simulate(inputs, header, resolve("none"), config, cost, from_header(header, None))
    measured = np.stack([one.times["fetch_s"] for one in inputs])
    return (simulated.times["fetch_s"] - measured)[:, WARM_UP_MINIBATCHES:]


def _non_negative_line(x: NDArray[np.int64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Intercept and slope of y over x by least squares; where the slope would be negative, a constant."""
    slope, intercept = np.polyfit(x, y, 1) if np.ptp(x) else (0.0, float(y.mean()))
    if intercept < 0:
        return 0.0, float((x * y).sum() / (x * x).sum())
    return (float(intercept), float(slope)) if slope >= 0 else (float(y.mean()), 0.0)
