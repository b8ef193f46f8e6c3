"""A small sweep inside this process, for notebooks: `python -m sim.sweep` is for large ones."""

from __future__ import annotations

import polars as pl

from sim.runs.twin import Twin
from sim.sweeps.batches import batches, run_batch
from sim.sweeps.grid import Grid, expand
from sim.sweeps.leaderboard import compared
from traces.errors import InputError


def sweep(grid: Grid, epochs: int | None = None) -> pl.DataFrame:
    """Simulate all combinations of a grid one after another; a row a run, as `sim.sweeps.leaderboard.read` gives it.

    With `epochs`, only so many of each trace. Raises `InputError` for names and values that there are not, and for runs
    that fail.
    """
    plan = expand(grid)
    twins = {sha256: Twin.open(path, set(grid.universes)) for sha256, path in plan.files.items()}  # type: ignore[arg-type]
    if epochs is not None:
        twins = {sha256: one.head(min(epochs, one.header.epochs)) for sha256, one in twins.items()}
    rows = [row for batch in batches(list(plan.configs.values())) for row in run_batch(batch, twins)]
    for row in rows:
        if row["error"] is not None:
            raise InputError(f"{row['agent']}, {row['cache']}, {row['buffer']}: {row['error']}")
    return compared(pl.DataFrame(rows, infer_schema_length=None))
