"""The results of a sweep on disk: one parquet file, and parts that haven't been merged into it yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from sim.config import ADDED, RunConfig
from sim.runs.former_names import renamed
from traces.errors import InputError
from traces.output import write_table

COMPACT_PARTS = 500
"""After so many parts, they are merged, so that the folder stays small."""


class Store:
    """The rows of a sweep, one a run, in a folder.

    A row is written before it counts as done, as a part of its own, which is renamed when it is complete. `compact`
    merges all parts into `runs.parquet` in the same way. A process that is killed in between leaves rows in both;
    `read` counts them once. This is safe against killed processes, not against power failures.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._table, self._parts = folder / "runs.parquet", folder / "parts"
        self._count = 0

    @contextmanager
    def writing(self) -> Iterator[Store]:
        """Lock the folder for writing. Raises `InputError` if another sweep writes into it."""
        from filelock import FileLock, Timeout

        self._parts.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder}: another sweep is writing here; wait for it, or give --out") from None
        with held:
            for left in self._parts.glob("*.partial"):
                left.unlink()
            yield self

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add finished runs; they are safe when this returns."""
        path = self._parts / f"{rows[0]['run']}.parquet"
        write_table(pl.DataFrame(rows, infer_schema_length=None), path)
        self._count += 1
        if self._count % COMPACT_PARTS == 0:
            self.compact()

    def compact(self) -> None:
        """Move all rows into `runs.parquet`, sorted by the runs' ids: the same rows give the same bytes."""
        parts = sorted(self._parts.glob("*.parquet"))
        if parts:
            write_table(self.read(), self._table)
            for part in parts:
                part.unlink()

    def read(self) -> pl.DataFrame:
        """All rows, sorted by id, with today's names. Without any row, a frame without columns.

        Raises `InputError` for a file that is no parquet file.
        """
        frames = []
        for path in [self._table, *sorted(self._parts.glob("*.parquet"))]:
            if path.is_file():
                try:
                    frames.append(renamed(pl.read_parquet(path)))
                except (pl.exceptions.PolarsError, OSError) as error:
                    raise InputError(f"{path}: can't be read ({error}); remove it to run its runs again") from None
        if not frames:
            return pl.DataFrame()
        table = pl.concat(frames, how="diagonal_relaxed").unique("run", keep="first").sort("run")
        for name in ADDED:  # rows may be older than the field
            if name in table.columns:
                table = table.with_columns(pl.col(name).fill_null(RunConfig.model_fields[name].default))
        first = ["run", *RunConfig.model_fields]
        results = sorted(name for name in table.columns if name not in first)
        return table.select(*(name for name in first if name in table.columns), *results)
