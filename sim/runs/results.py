"""Results as tidy tables, and writing a folder of results atomically."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.llm.prompt import question, system_prompt
from agents.policy import Outcome
from agents.recorded import FACTS
from sim.simulation.simulate import Simulated
from sim.workload.load import TrainerInput
from traces.header import Header
from traces.output import parquet, writing


def minibatch_table(simulated: Simulated, inputs: list[TrainerInput], header: Header) -> pl.DataFrame:
    """A row a minibatch a trainer: rank, epoch, minibatch, counts of rows, and times in seconds."""
    trainers, minibatches = len(inputs), inputs[0].stream.minibatches
    index = np.arange(minibatches)
    columns: dict[str, Any] = {
        "rank": np.repeat(np.arange(trainers, dtype=np.int32), minibatches),
        "epoch": np.tile((index // header.minibatches_per_epoch).astype(np.int32), trainers),
        "minibatch": np.tile((index % header.minibatches_per_epoch).astype(np.int32), trainers),
        "remote_rows": np.concatenate([one.stream.remote_rows for one in inputs]),
        "halo_rows": np.concatenate([one.stream.halo_rows for one in inputs]),
    }
    columns |= {name: values.ravel() for name, values in {**simulated.counts, **simulated.times}.items()}
    return pl.DataFrame(columns)


def epoch_seconds(start_s: NDArray[np.float64], step_s: NDArray[np.float64], per_epoch: int) -> NDArray[np.float64]:
    """Length of every epoch, from the first trainer's first step to the last trainer's last.

    Takes times of shape (trainers, minibatches), gives shape (epochs,).
    """
    starts = start_s.reshape(len(start_s), -1, per_epoch)
    ends = (start_s + step_s).reshape(starts.shape)
    return ends[:, :, -1].max(0) - starts[:, :, 0].min(0)


def epoch_times(simulated: Simulated, header: Header) -> pl.DataFrame:
    """A row an epoch: its number and `epoch_s`."""
    times = simulated.times
    seconds = epoch_seconds(times["start_s"], times["step_s"], header.minibatches_per_epoch)
    return pl.DataFrame({"epoch": np.arange(len(seconds), dtype=np.int32), "epoch_s": seconds})


def decision_table(simulated: Simulated, prompts: bool = False) -> pl.DataFrame:
    """A row for each decision: the run, the observation, the answer, the run-wide minibatch from which it applied, and
    its effect: the counts of the window after it (`after_...`, None if the run ended before).

    With `prompts`, also the prompts of a language model. `recorded:FILE` repeats the decisions of such a table.
    """
    rows = []
    for rank, log in enumerate(simulated.decisions):
        for entry, following in zip_longest(log, log[1:]):
            seen, answer = entry.observation, entry.decision
            after = asdict(following.observation.window) if following else dict.fromkeys(asdict(seen.window))
            rows.append(
                {"rank": rank, "asked_minibatch": seen.minibatch, "applied_minibatch": entry.applied_minibatch}
                | {name: getattr(seen.run, name) for name in FACTS}
                | asdict(seen.window)
                | {name: getattr(seen, name) for name in ("occupied_rows", "stale_rows", "candidate_rows")}
                | asdict(answer)
                | {f"after_{name}": value for name, value in after.items()}
                | ({"system_prompt": system_prompt(seen.run), "prompt": question(seen)} if prompts else {})
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def summarise(simulated: Simulated, inputs: list[TrainerInput], header: Header) -> dict[str, Any]:
    """A run in one row, over all trainers. Rates and sums are over the whole run; `fill_rows` are part of
    `fetched_rows`; step times are those of all trainers' minibatches; `overlap_share` is the share of preparation time
    that no trainer waited for."""
    counts, times = simulated.counts, simulated.times
    remote = sum(int(one.stream.remote_rows.sum()) for one in inputs)
    halo = sum(int(one.stream.halo_rows.sum()) for one in inputs)
    hits, fill = int(counts["hit_rows"].sum()), sum(simulated.fill_rows)
    epoch_s = epoch_seconds(times["start_s"], times["step_s"], header.minibatches_per_epoch)
    step_s, stall_s = times["step_s"].ravel(), times["stall_s"]
    prepared_s = float(times["sample_s"].sum()) + float(times["fetch_s"].sum())
    decisions = [entry for log in simulated.decisions for entry in log]
    applied = [entry for entry in decisions if entry.applied_minibatch is not None]
    return {
        "hit_rate_remote": hits / remote if remote else 0.0,
        "hit_rate_halo": hits / halo if halo else 0.0,
        "remote_rows": remote,
        "hit_rows": hits,
        "replacement_rows": int(counts["replacement_rows"].sum()),
        "fill_rows": fill,
        "fetched_rows": int(counts["fetched_rows"].sum()) + fill,
        "run_s": float(epoch_s.sum()) + max(simulated.fill_s, default=0.0),
        "epoch_s_mean": float(epoch_s.mean()),
        "step_s_mean": float(step_s.mean()),
        **{f"step_s_p{q}": float(np.percentile(step_s, q)) for q in (50, 95, 99)},
        "stall_s_mean": float(stall_s.ravel().mean()),
        "overlap_share": max(0.0, 1.0 - float(stall_s.sum()) / prepared_s) if prepared_s else 0.0,
        "decisions": len(decisions),
        "replacements": sum(entry.decision.replace for entry in applied),
        "usable_answers": sum(entry.decision.outcome == "valid" for entry in applied),
        **{f"answers_{kind}": sum(e.decision.outcome == kind for e in decisions) for kind in OUTCOMES},
        "latency_s_mean": float(np.mean([entry.decision.latency_s for entry in decisions])) if decisions else 0.0,
    }


OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""Outcomes of answers; a run's summary has a column `answers_OUTCOME` for each."""


def idle_notice(policy: str, row: Mapping[str, Any]) -> str:
    """The warning about a run whose policy changed nothing, because none of its answers was used; else empty.

    `row` is a run's summary, of a policy that decides about a buffer.
    """
    if row["usable_answers"]:
        return ""
    if not row["decisions"]:
        return f"NEVER ASKED: {policy} saw no whole window of minibatches, so its buffer stayed as under never"
    became = {kind: int(row[f"answers_{kind}"]) for kind in OUTCOMES if row.get(f"answers_{kind}")}
    late = became.pop("valid", 0)
    words = [f"{count} {kind}" for kind, count in became.items()] + ([f"{late} after the run"] if late else [])
    return (
        f"NO USABLE ANSWER: none of the {row['decisions']:.0f} answers of {policy} could be used ({', '.join(words)}), "
        "so its buffer stayed as under never"
    )


def write(
    folder: Path,
    tables: Mapping[str, pl.DataFrame],
    documents: Mapping[str, Any],
    figure: Callable[[], bytes] | None = None,
    files: Mapping[str, Path] | None = None,
) -> None:
    """Write a run's folder: `NAME.parquet`, `NAME.json`, `figure.png` when it is drawn, and `files` moved in by name.

    It is made under a temporary name and renamed, and takes the place of an earlier folder of the same run. Raises
    `InputError` where it can't be written; then `files` are where they were.
    """
    contents = {f"{name}.parquet": parquet(table) for name, table in tables.items()}
    for name, document in documents.items():
        contents[f"{name}.json"] = (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
    if figure is not None:
        contents["figure.png"] = figure()
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with writing(folder):
        try:
            partial.mkdir(parents=True)
            for name, content in contents.items():
                (partial / name).write_bytes(content)
        except OSError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        for name, file in (files or {}).items():
            os.replace(file, partial / name)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
