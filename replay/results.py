"""Results of a live run, in the simulator's tables, rates and column names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.policy_driver import LoggedDecision
from agents.registry import PolicyPlan
from replay.decisions import fill_file, read_decisions, read_sampled_bytes
from sim.config import RunConfig
from sim.counts.policy_runs import make_trainer_cache
from sim.runs.results import decision_table, epoch_times, minibatch_table, summarise
from sim.simulation.simulate import Simulated
from sim.simulation.trainer import TIMED
from sim.workload.load import TrainerInput, load
from traces.capture.recorder import LOSS, SCORES_FILE, fragment
from traces.header import Header
from traces.reader import Trace


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """What a live run left beside its trace: a value a trainer, but for `scores`, which are by evaluation.

    `sampled_bytes` is the largest memory of minibatches that were sampled ahead, 0 without any. `losses` has shape
    (trainers, minibatches), NaN where unknown.
    """

    losses: NDArray[np.float64]
    decisions: list[list[LoggedDecision]]
    fill_s: list[float]
    sampled_bytes: list[int]
    scores: list[dict[str, Any]] = field(default_factory=list)


def read_recorded(fragments: Path, header: Header) -> Recorded:
    """Read the records of the header's epochs from the fragments."""
    ranks, epochs = range(header.trainers), range(header.epochs)
    tables = [[pq.read_table(fragment(fragments, rank, epoch), columns=[LOSS]) for epoch in epochs] for rank in ranks]
    losses = np.full((header.trainers, header.epochs, header.minibatches_per_epoch), np.nan)
    for rank, of_rank in enumerate(tables):
        for epoch, table in enumerate(of_rank):
            losses[rank, epoch, : len(table)] = table[LOSS].to_numpy()
    scores = fragments / SCORES_FILE
    buffered = fill_file(fragments, 0).exists()
    return Recorded(
        losses=losses.reshape(header.trainers, -1),
        decisions=[read_decisions(fragments, rank, header.epochs) if buffered else [] for rank in ranks],
        fill_s=[json.loads(fill_file(fragments, rank).read_text()) if buffered else 0.0 for rank in ranks],
        sampled_bytes=[read_sampled_bytes(fragments, rank, header.epochs) if buffered else 0 for rank in ranks],
        scores=[json.loads(line) for line in scores.read_text().splitlines()] if scores.exists() else [],
    )


def as_simulated(trace: Trace, inputs: list[TrainerInput], plan: PolicyPlan, config: RunConfig) -> Simulated:
    """A captured run in the form of a simulated one, without decisions and fill times."""
    header, steps = trace.header, _all_minibatches(trace)
    steps = steps.with_columns(
        fetched_rows=pl.col("remote_rows") - pl.col("hit_rows") + pl.col("replacement_rows"),
        compute_s=pl.col("forward_s") + pl.col("backward_s"),
    )

    def by_trainer(name: str) -> NDArray[Any]:
        return steps[name].to_numpy().reshape(header.trainers, -1)

    caches = [
        make_trainer_cache(header, one.rank, one.stream.universe, config, None) if plan.buffered else None
        for one in inputs
    ]
    return Simulated(
        counts={name: by_trainer(name) for name in ("hit_rows", "replacement_rows", "fetched_rows")},
        times={name: by_trainer(name) for name in TIMED},
        capacity_rows=[cache.capacity_rows if cache else 0 for cache in caches],
        fill_rows=[cache.occupied_rows if cache else 0 for cache in caches],
        fill_s=[0.0] * len(inputs),
        decisions=[[] for _ in inputs],
    )


def _all_minibatches(trace: Trace) -> pl.DataFrame:
    """The trace's minibatches, with empty ones for trainers that have fewer than others, as `load` adds them."""
    header, steps = trace.header, trace.steps()
    if not header.trainer_minibatches:
        return steps
    counts = (header.trainers, header.epochs, header.minibatches_per_epoch)
    places = np.indices(counts, dtype=np.int32).reshape(3, -1)
    every = pl.DataFrame(dict(zip(("rank", "epoch", "minibatch"), places, strict=True)))
    joined = every.join(steps, on=["rank", "epoch", "minibatch"], how="left", maintain_order="left")
    over_s = (pl.col("start_s") + pl.col("step_s")).forward_fill()
    ended = pl.col("seeds").is_null()
    starts = [pl.when(ended).then(over_s).otherwise(name).alias(name) for name in ("start_s", "prepare_start_s")]
    joined, numbers = joined.with_columns(starts), pl.col(pl.Int64, pl.Float64)
    return joined.with_columns(pl.when(ended).then(numbers.fill_null(0)).otherwise(numbers))


def tables_of(
    trace: Trace, plan: PolicyPlan, config: RunConfig, recorded: Recorded
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """The tidy tables of a live run, and its summary in one row."""
    inputs = load(trace, config.universe)
    live = as_simulated(trace, inputs, plan, config)
    live.decisions[:], live.fill_s[:] = recorded.decisions, recorded.fill_s
    header = trace.header
    summary = {"policy": plan.name} | summarise(live, inputs, header)
    if config.universe == "remote":  # hits outside the halo have no rate over rows inside it
        summary["hit_rate_halo"] = None
    if most_bytes := max(recorded.sampled_bytes):
        summary["sampled_ahead_bytes"] = most_bytes
    last = recorded.losses[:, -header.minibatches_per_epoch :]
    summary["loss_last_epoch"] = None if np.isnan(last).all() else float(np.nanmean(last))
    summary |= {f"score_{split}": score for split, score in _last(recorded.scores).items()}
    policy = pl.lit(plan.name).alias("policy")
    minibatches = minibatch_table(live, inputs, header).with_columns(loss=recorded.losses.ravel())
    losses = minibatches.group_by("epoch").agg(pl.col("loss").mean())
    epochs = epoch_times(live, header).join(losses, on="epoch", maintain_order="left")
    if recorded.scores:
        epochs = epochs.join(
            pl.DataFrame(recorded.scores, schema_overrides={"epoch": pl.Int32}, infer_schema_length=None),
            on="epoch",
            how="left",
            maintain_order="left",
        )
    tables = {
        "runs": pl.DataFrame([{"run": config.id} | config.model_dump() | summary], infer_schema_length=None),
        "epochs": epochs.insert_column(0, policy),
        "minibatches": minibatches.insert_column(0, policy),
        "decisions": decision_table(live, plan.calls_model),
    }
    return tables, summary


def _last(scores: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The latest score of each split."""
    return {split: score for line in scores for split, score in line.items() if split != "epoch"}
