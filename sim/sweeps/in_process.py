"""A sweep in this process that returns a data frame; use `python -m sim.sweep` for large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from agents.user_code import spec_of
from sim.runs.twin import Twin
from sim.sweeps.batches import batches, run_batch
from sim.sweeps.grid import SAMPLED, Grid, expand
from sim.sweeps.leaderboard import compared
from traces.errors import InputError


def sweep(
    trace: Path | str | Sequence[Path | str],
    *,
    epochs: int | None = None,
    **lists: str | type | Sequence[str | int | type],
) -> pl.DataFrame:
    """Simulate all combinations of lists over one or more traces. Returns a row for each run, compared with its
    baselines.

    `lists` are those of `python -m sim.sweep` and `sim.sweeps.grid.Grid`, such as `caches=["score", "lru"]`, except for
    those of sampled runs, which that command has a folder for; a policy or cache of your own is named
    (`my_module:MyCache`) or given as its class. Columns are described at `sim.sweeps.leaderboard.compared`. With
    `epochs`, only so many of each trace are simulated. Raises `InputError` for names and values that there are not, for
    objects, and for a run that fails.
    """
    known = [one.name for one in fields(Grid) if one.name not in ("trace", *SAMPLED)]
    for name in lists:
        if name not in known:
            raise InputError(f"sweep has no list {name!r}; there are {', '.join(known)}")
    given: dict[str, Any] = {
        name: [_written(name, one) for one in ([values] if isinstance(values, str | type) else values)]
        for name, values in lists.items()
    }
    traces = [trace] if isinstance(trace, str | Path) else trace
    grid = Grid(trace=[str(one) for one in traces], **given)
    plan = expand(grid)
    twins = {sha256: Twin.open(path, grid.universes) for sha256, path in plan.files.items()}  # type: ignore[arg-type]
    if epochs is not None:
        twins = {sha256: one.head(epochs) for sha256, one in twins.items()}
    rows = [row for batch in batches(list(plan.configs.values())) for row in run_batch(batch, twins)]
    for row in rows:
        if row["error"] is not None:
            raise InputError(f"{row['agent']}, {row['cache']}, {row['buffer']}: {row['error']}")
    return compared(pl.DataFrame(rows, infer_schema_length=None))


def _written(name: str, value: object) -> str | int:
    """A value of the list `name` as it would be written on the command line."""
    if isinstance(value, type):
        return spec_of(value)
    if isinstance(value, str | int):
        return value
    given = f"{name}: {value!r} is an object, and every run needs a fresh one"
    raise InputError(f"{given}; give its class, {spec_of(type(value))}")
