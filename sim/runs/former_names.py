"""Replacing former names of policies and caches in results by today's."""

from __future__ import annotations

from typing import Any

import polars as pl

from agents.registry import RENAMES as POLICIES
from sim.caches.registry import RENAMES as CACHES

COLUMNS = {"agent": POLICIES, "policy": POLICIES, "cache": CACHES}
"""Columns of results that hold spec strings."""


def renamed(table: pl.DataFrame) -> pl.DataFrame:
    """A table of results with today's names."""
    for column in COLUMNS.keys() & set(table.columns):
        specs = [spec for spec in table[column].unique() if spec is not None]
        table = table.with_columns(pl.col(column).replace(specs, [COLUMNS[column].now(spec) for spec in specs]))
    return table


def renamed_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of results with today's names."""
    return row | {column: COLUMNS[column].now(row[column]) for column in COLUMNS.keys() & row.keys()}
