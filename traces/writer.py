"""Writing traces: row group by row group, under a temporary name until the header is in."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.header import Header
from traces.nodes import Nodes
from traces.schema import HEADER_KEY, SCHEMA

NODES_A_ROW = 1 << 20
"""Longer node lists are split over several rows, so that no single value grows past some megabytes."""


class TraceWriter:
    """Writes one trace file; use it as a context manager.

    The file appears under `path` only when the `with` block ends well, whole and with its header; before that it is
    `path` + ".partial". Memory is one row group's.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.path, self.header = path, header
        self._partial = path.with_name(path.name + ".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            self._partial,
            SCHEMA,
            compression="zstd",
            compression_level=9,
            use_dictionary=["record"],
            # ids are sorted, so differences are small: a third of the size of plain zstd
            column_encoding={
                "remote_ids.list.element": "DELTA_BINARY_PACKED",
                "node_ids.list.element": "DELTA_BINARY_PACKED",
            },
        )

    def write_nodes(self, partition: int, nodes: Nodes) -> None:
        """Add one partition's remote nodes."""
        columns: dict[str, NDArray[Any]] = {
            "node_ids": nodes.node_ids,
            "degrees": nodes.degrees,
            "local_degrees": nodes.local_degrees,
        }
        if nodes.vip is not None:
            columns["vip"] = nodes.vip
        bounds = range(0, max(len(nodes.node_ids), 1), NODES_A_ROW)
        rows: list[dict[str, Any]] = [
            {"record": "nodes", "partition": partition}
            | {name: values[start : start + NODES_A_ROW] for name, values in columns.items()}
            for start in bounds
        ]
        self._writer.write_table(pa.Table.from_pylist(rows, SCHEMA))

    def write_epoch(self, table: pa.Table) -> None:
        """Add one epoch of one trainer: a table with the schema's columns, minibatches in order."""
        self._writer.write_table(table, row_group_size=len(table))

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._writer.add_key_value_metadata({HEADER_KEY: self.header.model_dump_json()})
        self._writer.close()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)


def minibatch_table(partition: int, rank: int, epoch: int, rows: dict[str, Any]) -> pa.Table:
    """An epoch of one trainer as a table. `rows` maps the minibatch columns to a value (or an array) a minibatch."""
    count = len(rows["remote_ids"])
    fixed = {"record": ["minibatch"] * count, "partition": [partition] * count, "rank": [rank] * count}
    numbered = fixed | {"epoch": [epoch] * count, "minibatch": list(range(count))}
    columns = [
        pa.array(numbered[field.name], field.type)
        if field.name in numbered
        else pa.array(rows[field.name], field.type)
        if field.name in rows
        else pa.nulls(count, field.type)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
