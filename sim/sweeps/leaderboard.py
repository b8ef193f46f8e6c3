"""Analysing a sweep's results: functions from data frames to data frames, for notebooks and `sim.report`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sim.caches.registry import is_bound, may_ask_policy
from sim.config import BUFFER_FIELDS, POLICY_FIELDS, RunConfig
from sim.sweeps.batches import SAMPLING
from sim.sweeps.store import Store
from traces.errors import InputError

CONFIGURATION = [name for name in RunConfig.model_fields if name != "seed"]
"""Fields that distinguish configurations; seeds are repetitions."""

SETTING = [name for name in CONFIGURATION if name not in ("trace", *POLICY_FIELDS, *BUFFER_FIELDS)]
"""Fields that change the time of a policy without a buffer: all but those of policy and buffer."""

CONFIDENCE = 0.95

CONDITION = re.compile(r"\s*(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*?)\s*")


def read(folder: str | Path) -> pl.DataFrame:
    """All finished runs of a sweep, with comparisons to their baselines (`compared`).

    Raises `InputError` where there is no sweep.
    """
    table = Store(Path(folder)).read()
    if not table.width:
        raise InputError(f"{folder}: no results of a sweep; python -m sim.sweep --out {folder} makes them")
    return compared(table)


def compared(table: pl.DataFrame) -> pl.DataFrame:
    """Adds comparisons with its baselines to every run.

    `vs_none` and `vs_pipeline` are its mean epoch time over that of DistDGL without prefetching and of pipelining
    alone, less 1, and `vs_never`, where a policy decides, over that of the same buffer left as it was filled. Baselines
    agree with the run in every other field (`SETTING`, `BUFFER_FIELDS`); null where there is none. `fetched_over_min`
    are its rows fetched over the fewest possible. `bound` marks caches that know the future.
    """
    if "epoch_s_mean" not in table.columns:
        return table  # nothing but failures
    caches, buffered = table["cache"].unique().to_list(), pl.col("buffer_rows") > 0
    deciding = buffered & pl.col("cache").is_in([name for name in caches if may_ask_policy(name)])
    bounds = [name for name in caches if is_bound(name)]
    return table.with_columns(
        _against(table, "none", SETTING),
        _against(table, "pipeline", SETTING),
        _against(table, "never", (*SETTING, *BUFFER_FIELDS)),
        (pl.col("fetched_rows") / pl.col("min_fetched_rows")).alias("fetched_over_min"),
        (pl.col("cache").is_in(bounds) & buffered).alias("bound"),
    ).with_columns(vs_never=pl.when(deciding).then("vs_never"))


def _against(table: pl.DataFrame, agent: str, alike: Sequence[str]) -> pl.Series:
    """Mean epoch times over those of the runs of `agent` that have the same values in all fields `alike`, less 1."""
    same = [name for name in alike if name in table.columns]
    baseline = table.filter((pl.col("agent") == agent) & pl.col("epoch_s_mean").is_not_null())
    baseline = baseline.select(*same, pl.col("epoch_s_mean").alias("baseline_s"))
    baseline = baseline.unique(same, keep="first", maintain_order=True)
    found = table.select(*same).join(baseline, on=same, how="left", nulls_equal=True, maintain_order="left")
    # numpy divides; polars may multiply by a reciprocal, and then a share depends on the rest of the table
    share = table["epoch_s_mean"].to_numpy() / found["baseline_s"].to_numpy() - 1
    return pl.Series(f"vs_{agent}", share, nan_to_null=True)


def where(table: pl.DataFrame, conditions: Sequence[str]) -> pl.DataFrame:
    """The rows that meet all conditions: a column, one of = != < > <= >=, and a value, as in `agent=every:16`.

    Raises `InputError` for what is none, for a column that there is not, and for values of another type.
    """
    for condition in conditions:
        match = CONDITION.fullmatch(condition)
        if match is None:
            raise InputError(f"--where {condition!r}: write a column, a comparison and a value, such as agent=every:16")
        name, comparison, text = match.groups()
        _check_columns(table, [name], "--where")
        column = table[name]
        value: float | str = text
        if column.dtype.is_numeric():
            try:
                value = float(text)
            except ValueError:
                raise InputError(f"--where {condition!r}: {name} is a number, {text!r} is none") from None
        compared = {
            "=": pl.col(name).eq, "!=": pl.col(name).ne, "<": pl.col(name).lt, ">": pl.col(name).gt,
            "<=": pl.col(name).le, ">=": pl.col(name).ge,
        }[comparison](value)  # fmt: skip
        table = table.filter(compared)
    return table


def leaderboard(table: pl.DataFrame, by: str = "epoch_s_mean") -> pl.DataFrame:
    """A row for each configuration, the smallest `by` first: means over seeds, with confidence intervals.

    `seeds` counts them; `BY_interval` is half the width of the 95 % confidence interval of the mean (Student's t), null
    for a single seed. Failed runs are left out. Raises `InputError` for a column that there is not.
    """
    _check_columns(table, [by], "--by")
    finished = table.filter(pl.col("error").is_null())
    keys = [name for name in (*CONFIGURATION, *SAMPLING) if name in table.columns]
    numbers = [name for name in table.columns if name not in [*keys, "seed"] and table[name].dtype.is_numeric()]
    board = finished.group_by(keys, maintain_order=True).agg(
        pl.len().alias("seeds"),
        pl.col("bound").first(),
        *(pl.col(name).first() for name in ("extrapolated",) if name in table.columns),
        pl.col(by).std().alias("_spread"),
        *(pl.col(name).mean() for name in numbers),
    )
    seeds = board["seeds"].to_numpy()
    half = _t_quantile(seeds) * board["_spread"].to_numpy() / np.sqrt(seeds)
    board = board.with_columns(pl.Series(f"{by}_interval", half, nan_to_null=True)).drop("_spread")
    return board.sort(by, *keys, nulls_last=True)


def pareto(board: pl.DataFrame, first: str = "epoch_s_mean", second: str = "buffer_bytes") -> pl.DataFrame:
    """The Pareto front of every setting: rows that no other row of the setting beats in both columns. Smaller is
    better.

    Sorted by `second`. Raises `InputError` for a column that there is not.
    """
    _check_columns(board, [first, second], "--pareto")
    board = board.filter(pl.col(first).is_not_null() & pl.col(second).is_not_null()).sort(second, first)
    best = pl.col(first).cum_min().shift(1, fill_value=float("inf"))
    same = [name for name in SETTING if name in board.columns]
    return board.filter(pl.col(first) < (best.over(same) if same else best))


def best_of(board: pl.DataFrame, groups: Sequence[str], top: int) -> pl.DataFrame:
    """The first `top` rows of every group, in the order of the board. Raises `InputError` for columns there are not."""
    _check_columns(board, groups, "--group")
    return board.group_by(*groups, maintain_order=True).head(top) if groups else board.head(top)


def _check_columns(table: pl.DataFrame, names: Sequence[str], option: str) -> None:
    for name in names:
        if name not in table.columns:
            raise InputError(f"{option} {name}: there is no such column; there are {', '.join(sorted(table.columns))}")


def _t_quantile(seeds: np.ndarray) -> np.ndarray:
    from scipy.special import stdtrit

    return np.where(seeds > 1, stdtrit(np.maximum(seeds - 1, 1), 0.5 + CONFIDENCE / 2), np.nan)
