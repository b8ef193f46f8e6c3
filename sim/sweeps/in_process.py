"""A sweep inside this process, as a data frame: `python -m sim.sweep` is for large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from sim.runs.twin import Twin
from sim.sweeps.batches import batches, run_batch
from sim.sweeps.grid import Grid, expand
from sim.sweeps.leaderboard import compared
from traces.errors import InputError


def sweep(
    trace: Path | str | Sequence[Path | str], *, epochs: int | None = None, **lists: str | Sequence[str | int]
) -> pl.DataFrame:
    """Simulate all combinations of lists over one or more traces; a row a run, with what it is held against.

    `lists` are those of `python -m sim.sweep` and `sim.sweeps.grid.Grid`, such as `caches=["score", "lru"]`; columns
    are described at `sim.sweeps.leaderboard.compared`. With `epochs`, only so many of each trace are simulated. Raises
    `InputError` for names and values that there are not, and for a run that fails.
    """
    known = [one.name for one in fields(Grid) if one.name != "trace"]
    for name in lists:
        if name not in known:
            raise InputError(f"sweep has no list {name!r}; there are {', '.join(known)}")
    given: dict[str, Any] = {name: [one] if isinstance(one, str) else list(one) for name, one in lists.items()}
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
