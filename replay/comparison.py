"""Comparing a live run with the simulation of its own trace: counts of every minibatch, and times of every epoch.

A policy that decides by counts alone decides again, as in any simulation. A policy that looks at times, or takes time
to decide as language models do, would not see the same times again; its recorded decisions are applied at the
minibatches at which they were applied live.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.registry import UNASKED, PolicyPlan, resolve
from replay.launch import TRACE, read_config, refuse_checked
from replay.results import as_simulated
from sim.calibration.fit import Fitted, fit
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.cache_replay import FetchCounts
from sim.counts.policy_runs import count_ahead, plan_of_config, replay_recorded
from sim.runs.results import epoch_seconds
from sim.runs.run import Run
from sim.runs.twin import Twin
from sim.workload.load import TrainerInput, load
from traces.header import Header
from traces.reader import Trace

COUNTED = ("hit_rows", "replacement_rows", "fetched_rows")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A minibatch whose counts differ."""

    rank: int
    epoch: int
    minibatch: int
    column: str
    live: int
    simulated: int

    def __str__(self) -> str:
        where = f"trainer {self.rank}, epoch {self.epoch}, minibatch {self.minibatch}"
        return f"{where}: {self.column} {self.live:,} live, {self.simulated:,} simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`differences` are all minibatches whose counts differ, in order of time; `decided_again` says whether the policy
    decided anew in the simulation. Sums of rows are over the run, with the rows that filled the buffer at the start.

    Epoch times, in seconds, have shape (epochs,); the simulated ones are None without a cost model.
    """

    minibatches: int
    differences: list[Difference]
    decided_again: bool
    live_hits: int
    simulated_hits: int
    live_fetched_rows: int
    simulated_fetched_rows: int
    live_epoch_s: NDArray[np.float64]
    simulated_epoch_s: NDArray[np.float64] | None
    fitted_on: str

    @property
    def epoch_error_share(self) -> float | None:
        """Simulated over live mean epoch time, less 1."""
        if self.simulated_epoch_s is None:
            return None
        return float(self.simulated_epoch_s.mean() / self.live_epoch_s.mean() - 1)


def fit_trace(path: Path, trust: bool = False) -> Fitted:
    """The cost model of another captured run: one without buffers, or one in the folder of a live run, whose files say
    what the buffers held; `trust` as in `replay.launch.read_config`.

    Raises `InputError` for one that it can't be fitted on, as one that ran with `--check`.
    """
    trace = Trace(path)
    if path.name != TRACE:
        return fit(load(trace, "halo"), trace.header, path.name, str(path))
    config = read_config(path.parent, trust)
    refuse_checked(path.parent)
    inputs, plan = load(trace, config.universe), plan_of_config(config, UNASKED)
    fetch_counts = _count_again(path.parent, inputs, trace.header, plan, config)[0] if plan.buffered else None
    return fit(inputs, trace.header, path.parent.name, str(path), fetch_counts)


def compare(folder: Path, cost: CostModel | None = None, trust: bool = False) -> Comparison:
    """Simulate the trace of the live run in `folder` under its own policy, and compare; with a cost model, also time.

    `trust` lets it run code of a user's own that the folder names (`replay.launch.read_config`).
    Raises `InputError` for a folder that holds no live run, and, with a cost model, for one that ran with `--check`.
    """
    if cost is not None:
        refuse_checked(folder)
    config, trace = read_config(folder, trust), Trace(folder / TRACE)
    inputs, header = load(trace, config.universe), trace.header
    plan = plan_of_config(config, UNASKED)
    live = as_simulated(trace, inputs, plan, config)
    fetch_counts, decided_again = _count_again(folder, inputs, header, plan, config)
    counts = {
        "hit_rows": np.stack([one.hit_rows for one in fetch_counts]),
        "replacement_rows": np.stack([one.replacement_rows for one in fetch_counts]),
        "fetched_rows": np.stack([one.rows_by_owner.sum(axis=1) for one in fetch_counts]),
    }
    per_epoch, fill = header.minibatches_per_epoch, sum(int(one.fill_by_owner.sum()) for one in fetch_counts)
    epoch_s = None
    if cost is not None:
        twin = Twin(folder / TRACE, config.trace_sha256, header, cost, {config.universe: inputs})
        epoch_s = _simulated(twin, folder, plan, config, fetch_counts).epochs["epoch_s"].to_numpy()
    return Comparison(
        minibatches=live.counts["hit_rows"].size,
        differences=_differences(live.counts, counts, per_epoch),
        decided_again=decided_again,
        live_hits=int(live.counts["hit_rows"].sum()),
        simulated_hits=int(counts["hit_rows"].sum()),
        live_fetched_rows=int(live.counts["fetched_rows"].sum()) + sum(live.fill_rows),
        simulated_fetched_rows=int(counts["fetched_rows"].sum()) + fill,
        live_epoch_s=epoch_seconds(live.times["start_s"], live.times["step_s"], per_epoch),
        simulated_epoch_s=epoch_s,
        fitted_on=cost.fitted_on if cost else "",
    )


def _count_again(
    folder: Path, inputs: list[TrainerInput], header: Header, plan: PolicyPlan, config: RunConfig
) -> tuple[list[FetchCounts], bool]:
    """What every trainer of a live run fetches, and whether the policy decided again."""
    fetch_counts = count_ahead(inputs, header, plan, config)
    if fetch_counts is not None:
        return fetch_counts, True
    return replay_recorded(inputs, header, config, folder / "decisions.parquet"), False


def _simulated(twin: Twin, folder: Path, plan: PolicyPlan, config: RunConfig, fetch_counts: list[FetchCounts]) -> Run:
    """Simulate the times of the live run, with the rows that it fetched; in sync mode with the recorded latencies."""
    if plan.timed and config.mode == "sync":
        recorded = resolve(f"recorded:{folder / 'decisions.parquet'}")
        return twin.simulate(config, plan=recorded)
    return twin.simulate(config, plan=plan, fetch_counts=fetch_counts)


def _differences(live: dict[str, NDArray], simulated: dict[str, NDArray], per_epoch: int) -> list[Difference]:
    found = []
    for column in COUNTED:
        for rank, minibatch in zip(*np.nonzero(live[column] != simulated[column]), strict=True):
            epoch, within = divmod(int(minibatch), per_epoch)
            found.append(
                Difference(
                    rank=int(rank),
                    epoch=epoch,
                    minibatch=within,
                    column=column,
                    live=int(live[column][rank, minibatch]),
                    simulated=int(simulated[column][rank, minibatch]),
                )
            )
    return sorted(found, key=lambda one: (one.epoch, one.minibatch, one.rank))
