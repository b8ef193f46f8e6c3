"""A captured run as cost models are fitted to it: its measured times, its counts, and what the simulator says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agents.registry import entry_of, plan_of_past
from sim.cluster.topology import from_header
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.cache_replay import FetchCounts
from sim.simulation.simulate import simulate
from sim.workload.load import TrainerInput
from traces.header import Header

WARM_UP_MINIBATCHES = 2
"""Left out at the start where there is one epoch only: connections open, memory is touched for the first time."""

MEASURED = {
    "sample": "sample_s",
    "gather": "local_gather_s",
    "label": "label_s",
    "compute": "compute_s",
    "update": "update_s",
    "allreduce": "allreduce_s",
}
"""The time of every part, measured and simulated."""

PREPARING = ("sample_s", "fetch_s", "label_s", "copy_s")
"""What preparing a minibatch takes; copying is part of the simulator's labels."""


def warm_up(header: Header) -> int:
    """Minibatches at the start that are set aside: the first epoch, in which connections open and memory is touched
    for the first time."""
    return (
        header.minibatches_per_epoch
        if header.epochs > 1
        else min(WARM_UP_MINIBATCHES, header.minibatches_per_epoch // 2)
    )


def depth_of(header: Header) -> int:
    """How many minibatches a captured run prepared ahead."""
    depth = header.training.depth
    return int(entry_of(header.policy).pipelined) if depth is None else depth


def measured_times(inputs: list[TrainerInput], header: Header) -> dict[str, NDArray[np.float64]]:
    """The times of the captured run by the simulator's names: shape (trainers, minibatches).

    A thread that prepares ahead may begin as soon as the minibatch before is prepared and a place is free for the next
    one. That it does so late, as it waits for the interpreter's lock or a core, counts as sampling, as in the
    simulator.
    """
    found = {name: np.stack([one.times[name] for one in inputs]).astype(np.float64) for name in inputs[0].times}
    found["compute_s"] = found["forward_s"] + found["backward_s"]
    if depth := depth_of(header):
        late_s = _late_s(found, depth, header.minibatches_per_epoch)
        found["sample_s"] += late_s
        found["prepare_start_s"] -= late_s
    return found


def _late_s(times: dict[str, NDArray[np.float64]], depth: int, per_epoch: int) -> NDArray[np.float64]:
    """How much later than it may a thread begins to prepare; 0 for those of an epoch that it prepares before any is
    taken."""
    prepared = prepared_at(times)
    taken = np.maximum(times["start_s"], prepared)  # a trainer that turns to one that isn't there takes it as it comes
    late_s = np.zeros_like(prepared)
    may_begin = np.maximum(prepared[:, depth - 1 : -1], taken[:, :-depth])
    late_s[:, depth:] = np.maximum(times["prepare_start_s"][:, depth:] - may_begin, 0.0)
    late_s[:, np.arange(late_s.shape[1]) % per_epoch < depth] = 0.0
    return late_s


def prepared_at(times: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """When minibatches were prepared, measured or simulated."""
    return sum((times[part] for part in PREPARING if part in times), times["prepare_start_s"])


def handoff_latencies_s(times: dict[str, NDArray[np.float64]]) -> float:
    """What passes until a trainer has a minibatch that is prepared and that it has turned to; the mean."""
    there = np.maximum(times["start_s"], prepared_at(times))
    return float((times["start_s"] + times["stall_s"] - there).mean())


def simulate_measured(
    inputs: list[TrainerInput],
    header: Header,
    cost: CostModel,
    sha256: str,
    fetch_counts: list[FetchCounts] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The captured run itself, simulated: times of shape (trainers, minibatches)."""
    if fetch_counts is not None:
        inputs = [_with_own_sampling(*both) for both in zip(inputs, fetch_counts, strict=True)]
    config = RunConfig(trace="", trace_sha256=sha256, agent="", depth=header.training.depth)  # the plan has the policy
    plan = plan_of_past(header.policy)
    return simulate(inputs, header, plan, config, cost, from_header(header, None), fetch_counts=fetch_counts).times


def _with_own_sampling(source: TrainerInput, fetch_counts: FetchCounts) -> TrainerInput:
    sample_s = own_sampling_s(source.times["sample_s"], source.sampled_edges, fetch_counts.sampled)
    return replace(source, times=source.times | {"sample_s": sample_s})


def own_sampling_s(
    sample_s: NDArray[np.float64], sampled_edges: NDArray[np.int64], sampled: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What sampling each minibatch took, out of what was sampled in each turn of a run that samples ahead.

    All have shape (minibatches,), `sampled` is as in `FetchCounts`. Minibatches that were sampled in one turn share its
    time by their edges.
    """
    every = np.arange(len(sampled))
    if (sampled == every + 1).all():
        return sample_s
    turn = np.searchsorted(sampled, every, side="right")
    edges = np.maximum(sampled_edges, 1)
    return sample_s[turn] * edges / np.bincount(turn, edges, minlength=len(sampled))[turn]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredRun:
    """A captured run: its trainers, and what their buffers fetched, where it had any."""

    inputs: list[TrainerInput]
    header: Header
    sha256: str
    fetch_counts: list[FetchCounts] | None

    @property
    def depth(self) -> int:
        """How many minibatches were prepared ahead."""
        return depth_of(self.header)

    @property
    def skip(self) -> int:
        """Minibatches at the start that are set aside."""
        return warm_up(self.header)

    def measured(self) -> dict[str, NDArray[np.float64]]:
        """The times that are fitted to, without warm-up."""
        return {part: values[:, self.skip :] for part, values in measured_times(self.inputs, self.header).items()}

    def own_sampling_s(self) -> NDArray[np.float64]:
        """What sampling each minibatch took, where `measured` tells what each turn did, likewise."""
        measured_s, edges = self.measured()["sample_s"], self.counted(lambda one: one.sampled_edges)
        if self.fetch_counts is None:
            return measured_s
        sampled = [one.sampled[self.skip :] - self.skip for one in self.fetch_counts]
        return np.stack([own_sampling_s(*one) for one in zip(measured_s, edges, sampled, strict=True)])

    def counted(self, what: Callable[[TrainerInput], NDArray[np.int64]]) -> NDArray[np.int64]:
        """A count of every minibatch after the warm-up, shape (trainers, minibatches)."""
        return np.stack([what(one) for one in self.inputs])[:, self.skip :]

    def hits(self) -> NDArray[np.int64]:
        """Rows that buffers held, likewise."""
        if self.fetch_counts is None:
            return np.zeros((len(self.inputs), self.inputs[0].stream.minibatches - self.skip), np.int64)
        return np.stack([one.hit_rows for one in self.fetch_counts])[:, self.skip :]

    def fetched(self) -> NDArray[np.int64]:
        """Rows that were fetched, likewise."""
        if self.fetch_counts is None:
            return self.counted(lambda one: one.stream.remote_rows)
        return np.stack([one.rows_by_owner.sum(axis=1) for one in self.fetch_counts])[:, self.skip :]

    def gathered(self) -> NDArray[np.int64]:
        """Rows that were gathered at home, likewise."""
        return self.counted(lambda one: one.local_rows) + self.hits()

    def simulated(self, cost: CostModel, predicted: bool = False) -> dict[str, NDArray[np.float64]]:
        """What the simulator says of it, without warm-up; `predicted`: as of a run that `cost` was not fitted on."""
        times = simulate_measured(self.inputs, self.header, cost, "" if predicted else self.sha256, self.fetch_counts)
        return {part: values[:, self.skip :] for part, values in times.items()}
