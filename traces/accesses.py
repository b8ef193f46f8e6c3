"""Accesses to remote rows as data frames: popularity of nodes, and reuse distances."""

from __future__ import annotations

import numpy as np
import polars as pl

from traces.reader import Trace


def accesses(trace: Trace, rank: int) -> pl.DataFrame:
    """Every remote row that a trainer asks for, in order: `rank`, `minibatch` (of the run) and `node_id`."""
    ids, lengths = [], []
    for epoch in trace.epochs(rank):
        ids.append(epoch.ids)
        lengths.append(np.diff(epoch.offsets))
    minibatch = np.repeat(np.arange(trace.minibatches, dtype=np.int32), np.concatenate(lengths))
    return pl.DataFrame({"minibatch": minibatch, "node_id": np.concatenate(ids)}).insert_column(
        0, pl.lit(rank, pl.Int32).alias("rank")
    )


def popularity(trace: Trace) -> pl.DataFrame:
    """A row a node that a trainer asks for: `rank`, `node_id`, `accesses` (in minibatches), the most popular first."""
    counts = [
        accesses(trace, rank).group_by("rank", "node_id").len("accesses") for rank in range(trace.header.trainers)
    ]
    return pl.concat(counts).sort("rank", "accesses", "node_id", descending=[False, True, False])


def reuse(trace: Trace) -> pl.DataFrame:
    """How often a trainer asks for a row again after so many minibatches: `rank`, `distance_minibatches`, `rows`.

    A distance of null counts rows that are asked for the first time.
    """
    tables = []
    for rank in range(trace.header.trainers):
        table = accesses(trace, rank).sort("node_id", "minibatch", maintain_order=True)
        distance = (
            pl.col("minibatch").diff().over("node_id", mapping_strategy="group_to_rows").alias("distance_minibatches")
        )
        tables.append(table.with_columns(distance).group_by("rank", "distance_minibatches").len("rows"))
    return pl.concat(tables).sort("rank", "distance_minibatches", nulls_last=True)
