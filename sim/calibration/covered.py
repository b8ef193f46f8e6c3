"""What captured runs cover of all that times depend on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.calibration.measured_run import MeasuredRun
from sim.cost.basis import Basis
from sim.cost.service_demand import input_rows
from sim.workload.load import TrainerInput
from traces.header import Header


def quantities(inputs: list[TrainerInput], header: Header) -> dict[str, NDArray[np.float64]]:
    """All values that a run has of each of `sim.cost.basis.QUANTITIES`."""
    of_trainers = {
        "sampled_edges": [one.sampled_edges for one in inputs],
        "local_rows": [one.local_rows for one in inputs],
        "input_rows": [input_rows(one) for one in inputs],
        "remote_rows": [one.stream.remote_rows for one in inputs],
    }
    of_run = {
        "trainers": header.trainers,
        "trainers_per_host": header.cluster.trainers_per_host,
        "hops": len(header.training.fanout),
    }
    found = {name: np.concatenate(values).astype(np.float64) for name, values in of_trainers.items()}
    return found | {name: np.array([value], np.float64) for name, value in of_run.items()}


def basis_of(runs: list[MeasuredRun], errors: dict[str, float]) -> Basis:
    """What cost models keep of the runs that they are fitted on."""
    of_runs = [quantities(run.inputs, run.header) for run in runs]
    first = runs[0].header
    copied_s = sum(float(run.measured()["copy_s"].sum()) for run in runs if run.fetch_counts is None)
    rows = sum(int(run.counted(input_rows).sum()) for run in runs if run.fetch_counts is None)
    return Basis(
        ranges={
            name: (min(float(one[name].min()) for one in of_runs), max(float(one[name].max()) for one in of_runs))
            for name in of_runs[0]
        },
        errors=dict(errors),
        copy_s_per_row=copied_s / max(rows, 1),
        cluster=first.cluster,
        training=first.training,
        graph=first.graph,
    )
