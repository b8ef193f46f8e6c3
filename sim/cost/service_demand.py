"""What every minibatch asks of cores and servers (its service demand), measured or predicted by regression."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost.model import PARTS, SERVED_SHARE, CostModel
from sim.counts.cache_replay import FetchCounts
from sim.engine.tasks import FETCH, LABEL, REDUCE, SAMPLE, STEP
from sim.workload.load import TrainerInput
from traces.errors import InputError
from traces.header import Header

FETCH_STEP = 2
"""The step of preparing that fetches features."""

FIRST_ROUND_SHARE = 0.35
"""Of sampling, what the seeds' hop takes, in which they are sampled and taken apart; the others take the rest. 0.31 and
0.39 of both hops with fanouts 10,25 on one part of debian and linux, in DGL alone."""

UNBUFFERED = ("none", "pipeline")
"""Policies of captured runs whose trainers kept no remote rows."""

LABELS_ELSEWHERE = 2.0
"""A trainer whose quickest labels take so many times as long as those of the quickest trainer asks other hosts."""


@dataclass(frozen=True, slots=True, eq=False)
class ServiceDemand:
    """One trainer's work, a value a minibatch; `allreduce_s` is what an all-reduce takes beside its bytes,
    `sampled_rows` (minibatches, hosts) are edges sampled elsewhere, and `seed_rows` (hosts,) is above 0 for other hosts
    that some of its seeds belong to. `hit_s` is what gathering a row takes that the buffer holds.
    """

    sample_s: NDArray[np.float64]
    gather_s: NDArray[np.float64]
    label_s: NDArray[np.float64]
    compute_s: NDArray[np.float64]
    update_s: NDArray[np.float64]
    allreduce_s: NDArray[np.float64]
    sampled_rows: NDArray[np.float64]
    seed_rows: NDArray[np.float64]
    hit_s: float

    def preparing(self, request_s: float, fetch_counts: FetchCounts) -> tuple[NDArray, NDArray[np.float64]]:
        """What preparing a minibatch takes: tasks of `sim.engine.tasks.STEP`, shape (minibatches, 4), and the rows of
        their calls, shape (minibatches, 4, hosts).

        Two rounds of sampling (of which seeds that belong elsewhere need the first), the fetch, and the labels.
        """
        rows_by_owner = fetch_counts.rows_by_owner
        tasks = np.zeros((len(self.sample_s), 4), STEP)
        rows = np.zeros((len(self.sample_s), 4, rows_by_owner.shape[1]))
        for step, share in enumerate((FIRST_ROUND_SHARE, 1 - FIRST_ROUND_SHARE)):
            sampling, served_s = tasks[:, step], self.sample_s * share * SERVED_SHARE
            sampling["kind"] = SAMPLE
            sampling["before_s"] = sampling["overlapped_s"] = served_s
            sampling["after_s"] = self.sample_s * share - 2 * served_s
        fetching, labelling = tasks[:, FETCH_STEP], tasks[:, 3]
        fetching["kind"] = FETCH
        fetching["before_s"] = request_s * rows_by_owner.any(axis=1)
        fetching["overlapped_s"] = self.gather_s + self.hit_s * fetch_counts.hit_rows
        labelling["kind"], labelling["after_s"] = LABEL, self.label_s
        rows[:, 0] = rows[:, 3] = self.seed_rows
        rows[:, 1], rows[:, FETCH_STEP] = self.sampled_rows, rows_by_owner
        return tasks, rows

    def training(self, step_overhead_s: float) -> NDArray:
        """What training with a minibatch takes: tasks of `sim.engine.tasks.STEP`, shape (minibatches, 4). Their steps
        are handing the minibatch over, computing, the all-reduce, and the update."""
        tasks = np.zeros((len(self.compute_s), 4), STEP)
        tasks["before_s"][:, 0], tasks["before_s"][:, 1], tasks["before_s"][:, 3] = (
            step_overhead_s,
            self.compute_s,
            self.update_s,
        )
        tasks["kind"][:, 2], tasks["overlapped_s"][:, 2] = REDUCE, self.allreduce_s
        return tasks


def make_service_demand(
    inputs: list[TrainerInput], header: Header, cost: CostModel, sha256: str, buffered: bool = False
) -> list[ServiceDemand]:
    """The work of all trainers in the run of the trace with this checksum, with or without buffers.

    Raises `InputError` for a trace without the times of its parts, unless it was sampled and the cost model says all of
    it.
    """
    predicted, share = is_predicted(cost, sha256), cost.contention_factors.get(sha256, dict.fromkeys(PARTS, 1.0))
    sampled = header.sampled and predicted and cost.basis is not None
    unrecorded = sorted({name for one in inputs for name, seconds in one.times.items() if np.isnan(seconds).any()})
    if unrecorded and not sampled:
        raise InputError(
            f"the trace has no {', '.join(unrecorded)}: its rows can be counted, but no time can be simulated; "
            "traces/README.md says what a recorded job must show"
        )
    quick_s = [float(np.percentile(one.times["label_s"], 10)) for one in inputs]
    allreduce_s = allreduce_delay_s(inputs, cost, sha256)
    timed_buffer = header.policy not in UNBUFFERED  # copying and gathering were measured with a buffer
    looks_up = buffered and (predicted or not timed_buffer)
    work = []
    for one, seed_rows in zip(inputs, seeds_elsewhere(quick_s, header), strict=True):
        times, constant = one.times, np.ones(one.stream.minibatches)
        if predicted:
            parts = predicted_parts(cost, one, len(inputs))
        else:
            parts = {
                "sample": times["sample_s"] * share["sample"],
                "gather": times["local_gather_s"] * share["gather"],
                "label": (min(quick_s) * constant if seed_rows.any() else times["label_s"]) * share["label"],
                "compute": (times["forward_s"] + times["backward_s"]) * share["compute"],
                "update": times["update_s"] * share["update"],
            }
        if sampled and cost.basis is not None:
            parts["label"] = parts["label"] + cost.basis.copy_s_per_row * input_rows(one)
        elif not timed_buffer:
            parts["label"] = parts["label"] + times["copy_s"]
        elif not predicted:
            parts["label"] = parts["label"] + times["copy_s"] * share["compute"]
        if looks_up:
            parts["label"] = parts["label"] + cost.buffer_s_per_row * one.stream.remote_rows
        work.append(
            ServiceDemand(
                **{f"{part}_s": seconds for part, seconds in parts.items()},
                allreduce_s=allreduce_s,
                sampled_rows=sampled_elsewhere(one, header),
                seed_rows=seed_rows,
                hit_s=cost.server_s_per_row if looks_up else 0.0,
            )
        )
    return work


def predicted_parts(cost: CostModel, source: TrainerInput, trainers: int) -> dict[str, NDArray[np.float64]]:
    """The predicted demand of every part, log-normal around its regression; the same trainer draws the same values."""
    rng, parts = np.random.default_rng(source.rank), {}
    for part in REGRESSION:
        drawn = cost.lognormal_sigma * rng.standard_normal(source.stream.minibatches)
        parts[part] = predicted_s(part, cost, source) * np.exp(drawn - cost.lognormal_sigma**2 / 2)  # of mean 1
    late = np.arange(source.stream.minibatches) % trainers == source.rank % trainers
    parts["compute"] += late * cost.straggler_delay_s
    return parts


def is_predicted(cost: CostModel, sha256: str) -> bool:
    """Whether a run's demand is predicted by regression, because the cost model was not fitted on that run."""
    return bool(cost.regression) and sha256 not in cost.contention_factors


def predicted_s(part: str, cost: CostModel, source: TrainerInput) -> NDArray[np.float64]:
    """The demand of a part by regression: shape (minibatches,), in seconds."""
    constant, slope, counts = REGRESSION[part]
    return np.asarray(
        cost.regression[constant] + (cost.regression[slope] if slope else 0.0) * counts(source), np.float64
    )


def seeds_elsewhere(quick_s: list[float], header: Header) -> NDArray[np.float64]:
    """A row of each other host that a trainer has seeds of, by what its quickest labels take: shape (trainers, hosts).

    A sampled trace says so itself. Otherwise: DistDGL's `node_split` gives trainers equal parts of the training nodes
    in the order of their ids, so that what a host has too many of goes to the trainer before or after its own. So of
    two trainers beside each other one asks the other's host: the one whose labels take longer.
    """
    rows = np.zeros((len(quick_s), header.partition.parts))
    for rank, hosts in enumerate(header.seed_hosts):
        rows[rank, list(hosts)] = 1.0
    if header.seed_hosts:
        return rows
    for before, after in itertools.pairwise(range(len(quick_s))):
        asks, asked = (before, after) if quick_s[before] > quick_s[after] else (after, before)
        own, other = header.partition_of(asks), header.partition_of(asked)
        if own != other and quick_s[asks] > LABELS_ELSEWHERE * min(quick_s):
            rows[asks, other] = 1.0
    return rows


def input_rows(source: TrainerInput) -> NDArray[np.int64]:
    """Input nodes of every minibatch."""
    return source.local_rows + source.stream.remote_rows


def _once(source: TrainerInput) -> NDArray[np.int64]:
    return np.zeros(source.stream.minibatches, np.int64)


REGRESSION: dict[str, tuple[str, str, Callable[[TrainerInput], NDArray[np.int64]]]] = {
    "sample": ("sample_s", "sample_s_per_edge", lambda source: source.sampled_edges),
    "gather": ("gather_s", "gather_s_per_row", lambda source: source.local_rows),
    "label": ("label_s", "", _once),
    "compute": ("compute_s", "compute_s_per_row", input_rows),
    "update": ("update_s", "", _once),
}
"""A part's constant and its slope in `CostModel.regression`, and what the slope is over: sampled edges, local rows,
input nodes. `allreduce_s_per_round` is there beside them."""


def sampled_elsewhere(source: TrainerInput, header: Header) -> NDArray[np.float64]:
    """Edges that other hosts sample for every minibatch, by host: shape (minibatches, hosts).

    A trace tells only how many input nodes each host owns. Seeds are (nearly all) local, and every hop leads as many
    more nodes away, so that of the nodes whose neighbours are sampled last the share elsewhere is that of the input
    nodes less one hop's part. Their edges are nearly all edges.
    """
    hops = max(len(header.training.fanout), 1)
    edges = source.sampled_edges * (hops - 1) / hops / np.maximum(input_rows(source), 1)
    return source.owner_rows * edges[:, None]


def allreduce_delay_s(inputs: list[TrainerInput], cost: CostModel, sha256: str) -> NDArray[np.float64]:
    """What the all-reduce of every step takes beside its bytes."""
    if is_predicted(cost, sha256):
        return np.full(inputs[0].stream.minibatches, cost.regression["allreduce_s_per_round"] * rounds(len(inputs)))
    share = cost.contention_factors.get(sha256, {}).get("allreduce", 1.0)
    return np.mean([one.times["allreduce_s"] for one in inputs], axis=0) * share


def rounds(trainers: int) -> int:
    """Rounds of a ring all-reduce."""
    return max(2 * (trainers - 1), 1)
