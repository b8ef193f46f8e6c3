"""Where the time went: a Chrome trace of a simulated run, and how busy links and servers were.

The trace opens in chrome://tracing, in Perfetto (ui.perfetto.dev) and in Speedscope. A trainer is a process there, with
a row for preparing minibatches and one for training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sim.simulation.simulate import Simulated
from traces.header import Header

PREPARING = (("sample", "sample_s"), ("fetch", "fetch_s"), ("labels", "label_s"))
TRAINING = (
    ("stall", "stall_s"),
    ("compute", "compute_s"),
    ("wait for the slowest", "wait_s"),
    ("all-reduce", "allreduce_s"),
    ("update", "update_s"),
)
"""The parts of a minibatch in order, as they are named, and their times."""


def chrome_trace(simulated: Simulated, header: Header) -> dict[str, Any]:
    """The trace as its JSON format has it, times in whole microseconds, so that a part ends exactly where the next one
    begins: viewers drop parts that overlap. They take processes and threads to be numbered from 1, each once."""
    events: list[dict[str, Any]] = []
    for rank in range(len(simulated.times["start_s"])):
        host = header.cluster.hosts[header.partition_of(rank)]
        label = {"pid": rank + 1, "args": {"name": f"trainer {rank} on {host}"}}
        events.append({"ph": "M", "name": "process_name"} | label)
        for row, (name, start, parts) in enumerate(
            (("prepare", "prepare_start_s", PREPARING), ("train", "start_s", TRAINING))
        ):
            where = {"pid": rank + 1, "tid": 2 * rank + row + 1}
            events.append({"ph": "M", "name": "thread_name", "args": {"name": name}} | where)
            begins_s = simulated.times[start][rank].copy()
            for part, column in parts:
                ends_s = begins_s + simulated.times[column][rank]
                events.extend(
                    {"ph": "X", "name": part, "args": {"minibatch": minibatch}, "ts": begin, "dur": end - begin} | where
                    for minibatch, (begin, end) in enumerate(zip(_micros(begins_s), _micros(ends_s), strict=True))
                    if end > begin
                )
                begins_s = ends_s
    for decided in simulated.decisions:
        for entry in decided:
            seen, answer = entry.observation, entry.decision
            asked_s = simulated.times["prepare_start_s"][seen.run.rank][seen.minibatch]
            details = {"minibatch": seen.minibatch, "replace": answer.replace, "outcome": answer.outcome}
            events.append(
                {"ph": "i", "s": "p", "name": "decision", "args": details, "ts": round(float(asked_s) * 1e6)}
                | {"pid": seen.run.rank + 1, "tid": 2 * seen.run.rank + 1}
            )
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _micros(times_s: NDArray[np.float64]) -> list[int]:
    """In whole microseconds."""
    rounded: list[int] = np.rint(times_s * 1e6).astype(np.int64).tolist()
    return rounded


def utilisation(simulated: Simulated, header: Header) -> pl.DataFrame:
    """A row an interval and a link or host: `start_s`, `what` (link or servers), `name`, and `busy_share`, the part of
    a link's rate that was used (above 1 while a burst passes), or of the time of a host's servers. Intervals after the
    last one are left out."""
    used, names = simulated.used, simulated.used_names
    last = np.flatnonzero(used.any(axis=1))[-1] + 1 if used.any() else 0
    start_s = np.arange(last) * simulated.bin_s
    frames = [
        pl.DataFrame({"start_s": start_s, "what": what, "name": name, "busy_share": used[:last, column]})
        for column, (what, name) in enumerate(names)
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def breakdown(table: pl.DataFrame) -> pl.DataFrame:
    """Mean times of every trainer's parts in milliseconds, of a table of minibatches. What trains adds up to a step."""
    names = [column for _, column in (*PREPARING, *TRAINING)] + ["step_s"]
    return (
        table.group_by("rank")
        .agg((pl.col(names) * 1e3).mean())
        .sort("rank")
        .rename({name: f"{name[:-2]}_ms" for name in names})
    )
