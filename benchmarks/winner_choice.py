"""What `benchmarks.winner` simulates: the link rate, the best of many configurations, and what each will take.

All rests on two captures, live runs of their own with `none` and `pipeline`: none of the runs that are predicted. A
policy without a buffer is predicted from the capture of the other one, all others from both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from agents.registry import resolve
from benchmarks.published import settings
from replay.comparison import fit_trace
from replay.grid import PolicyChoice
from replay.launch import TRACE
from sim import Twin
from sim.calibration.joint_fit import joint_fit
from sim.calibration.measured_run import warm_up
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.cache_replay import replay_cache
from sim.runs.run import Run
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, expand
from sim.sweeps.pool import run_local

RATES = ("1gbit", "500mbit", "200mbit", "100mbit", "50mbit", "20mbit")
WAITING = 0.5
"""Features must take this share of the epoch of `pipeline`."""

BUFFERS = ("5%", "10%", "15%", "20%", "25%", "50%")
LARGEST = ("25%", "50%")
"""There is a winner of all buffers up to the largest of the published ones, and one of all up to sim.tune's default."""

PUBLIC, PUBLIC_SLOW, SCORE = "score-public", "score-public:alpha=.005,period=32", "score"
INTERVALS = tuple(f"every:{minibatches}" for minibatches in (2, 4, 8, 16, 32, 64))
"""`always` is every:1."""

GRIDS: tuple[dict[str, Any], ...] = (
    {"agents": ("none", "pipeline")},
    {
        "agents": ("never", "always", *INTERVALS, "partial:0.05"),
        "caches": (SCORE, PUBLIC, PUBLIC_SLOW, "frequency:half_life=5000"),
        "universes": ("halo", "remote"),
    },
    {
        "agents": ("never",),
        "caches": ("vip", "degree", "presc", "vip-demand", "lru", "lfu", "sieve", "s3fifo", "tinylfu", "arc"),
        "universes": ("halo", "remote"),
    },
    {"agents": ("always", "every:32"), "caches": (PUBLIC, PUBLIC_SLOW), "inits": ("empty",)},
)


class Captures(NamedTuple):
    """Folders of the live runs that everything is predicted from, by policy."""

    none: Path
    pipeline: Path


@cache
def cost_of(captures: Captures, agent: str) -> tuple[Path, CostModel]:
    """A cost model fitted on captures of other policies, and the trace of the last of them."""
    folders = [folder for name, folder in captures._asdict().items() if name != agent]
    cost, _ = joint_fit([fit_trace(folder / TRACE) for folder in folders])
    return folders[-1] / TRACE, cost


@cache
def twin_of(captures: Captures, agent: str) -> Twin:
    """The captured run over which a policy is simulated, and its cost model (`cost_of`): its laws, as for any run."""
    path, cost = cost_of(captures, agent)
    return Twin.open(path, ("halo", "remote"), cost)


def waiting(captures: Captures, on_progress: Callable[[], None]) -> pl.DataFrame:
    """How long `pipeline` waits for features, a row a link rate, in epochs after the first.

    `stall_share` is the part of the steps that trainers wait for their next minibatch, `idle_share` that and waiting
    for the gradients of others, which wait behind features in the links. `features_share` is the part of the epoch that
    goes away where all features are at hand.
    """
    twin, rows = twin_of(captures, ""), []
    no_rows = [replay_cache(one, None) for one in twin.inputs["halo"]]
    no_rows = [replace(one, rows_by_owner=np.zeros_like(one.rows_by_owner)) for one in no_rows]
    skip = warm_up(twin.header)
    for rate in RATES:
        with_features = twin.simulate("pipeline", link=rate)
        without = twin.simulate("pipeline", link=rate, fetch_counts=no_rows)
        times = with_features.simulated.times
        mean = {name: float(times[name][:, skip:].mean()) for name in times}
        epoch_s, without_s = (epoch_s_of(one) for one in (with_features, without))
        idle_s = mean["stall_s"] + mean["wait_s"] + mean["allreduce_s"]
        rows.append(
            {
                "link": rate,
                "epoch_s": epoch_s,
                "epoch_without_features_s": without_s,
                "stall_share": mean["stall_s"] / mean["step_s"],
                "idle_share": idle_s / mean["step_s"],
                "features_share": 1 - without_s / epoch_s,
            }
        )
        on_progress()
    return pl.DataFrame(rows)


def sweep(captures: Captures, workers: int, on_progress: Callable[[int, int], None]) -> pl.DataFrame:
    """All configurations of `GRIDS` at the captures' link rate: a row each, as `sim.sweep` writes them.

    `on_progress` hears how many there are and how many are done."""
    twin = twin_of(captures, "")
    configs: dict[str, RunConfig] = {}
    for grid in GRIDS:
        configs |= expand(Grid(trace=(str(twin.path),), buffers=BUFFERS, **grid)).configs
    rows: list[dict[str, Any]] = []
    for finished in run_local(batches(list(configs.values())), lambda: {twin.sha256: twin}, workers):
        rows.extend(finished)
        on_progress(len(configs), len(rows))
    return pl.DataFrame(sorted(rows, key=lambda row: row["run"]), infer_schema_length=None)


def choose(table: pl.DataFrame, largest: str, captures: Captures) -> dict[str, PolicyChoice]:
    """What runs live with a buffer, by what it stands for: the fastest of all configurations with buffers up to the
    largest, and its rivals at its buffer size, those with the fastest epochs after the first. The public rule is the
    best of all settings that its code ships."""
    sizes = BUFFERS[: BUFFERS.index(largest) + 1]
    table = table.filter(pl.col("error").is_null(), pl.col("buffer").is_in(sizes)).sort("epoch_s_mean", "run")
    winner = table.filter(pl.col("buffer_rows") > 0).row(0, named=True)
    rivals = table.filter(pl.col("universe") == "halo", pl.col("buffer") == winner["buffer"])
    periodic = rivals.filter(pl.col("cache") == SCORE, pl.col("agent").is_in(["always", *INTERVALS]))
    return {
        "winner": _choice(winner),
        "every:N": fastest_first([_choice(row) for row in periodic.to_dicts()], captures)[0],
        "public rule": fastest_first(published(winner["buffer"]), captures)[0],
    }


def published(buffer: str) -> list[PolicyChoice]:
    """The public rule under all of its published settings. Language models are left out."""
    return [PolicyChoice(agent=one.agent, cache=one.cache, init=one.init, buffer=buffer) for one in settings()]


def fastest_first(choices: list[PolicyChoice], captures: Captures) -> list[PolicyChoice]:
    """In the order of their epochs after the first, as predicted."""
    return sorted(choices, key=lambda choice: float(predict(captures, choice)["predicted_epoch_s"]))


def _choice(row: dict[str, Any]) -> PolicyChoice:
    return PolicyChoice(**{name: row[name] for name in PolicyChoice.model_fields})


@cache
def predict(captures: Captures, choice: PolicyChoice) -> dict[str, Any]:
    """A policy's epoch time after the first, hit rate and fetched rows of the whole run, over a captured run."""
    twin = twin_of(captures, choice.agent if choice.agent in Captures._fields else "")
    options = choice.model_dump() if resolve(choice.agent).buffered else {}
    run = twin.simulate(choice.agent, **{name: value for name, value in options.items() if name != "agent"})
    return {
        "predicted_epoch_s": epoch_s_of(run),
        "predicted_hit_rate": run.row["hit_rate_remote"],
        "predicted_fetched_rows": run.row["fetched_rows"],
    }


def epoch_s_of(run: Run) -> float:
    """The mean of all epochs but the first."""
    return float(run.epochs["epoch_s"][1:].mean())  # type: ignore[arg-type]
