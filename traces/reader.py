"""Reading traces lazily, by trainer and epoch, so that files may be larger than memory; everything read is
validated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from traces.errors import InputError
from traces.header import Header, parse_header
from traces.nodes import Nodes
from traces.schema import COUNTS, HEADER_KEY, SCHEMA, TIMES, minibatch_fault, node_fault


@dataclass(frozen=True, slots=True, eq=False)
class Epoch:
    """One epoch of one trainer. Minibatch m asked for `ids[offsets[m]:offsets[m + 1]]`, ascending and distinct.

    `columns` holds the counts (int64) and times (float64, seconds) of `traces.schema`, shape (minibatches,);
    `owner_done_s` has shape (minibatches, partitions). Times that the run didn't record are NaN throughout.
    """

    rank: int
    epoch: int
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    columns: dict[str, NDArray[np.int64] | NDArray[np.float64]]
    owner_done_s: NDArray[np.float64]


class Trace:
    """A trace file. Opening it reads the header, not the rows.

    Raises `InputError` for a file that is no parquet file, truncated, no trace, of another version, without a column,
    or empty; and, where rows are read, for values that can't be, naming file, row group and column.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path}: no such file; `python -m traces.capture --help` tells how to make a trace")
        try:
            self._file = pq.ParquetFile(self.path, memory_map=True)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: not a parquet file, or cut short ({_first_line(error)})") from None
        metadata = self._file.schema_arrow.metadata or {}
        metadata = metadata | (self._file.metadata.metadata or {})
        if HEADER_KEY not in metadata:
            raise InputError(f"{path}: a parquet file, but not a trace: it has no {HEADER_KEY.decode()!r} header")
        self.header: Header = parse_header(metadata[HEADER_KEY], str(path))
        self._check_columns()
        self._nodes, self._epochs = self._index()
        self._check_cover()

    def __reduce__(self) -> tuple[type[Trace], tuple[Path]]:
        """Another process opens the file anew."""
        return Trace, (self.path.absolute(),)

    @property
    def minibatches(self) -> int:
        """Minibatches over the whole run of the trainer that has the most."""
        return self.header.epochs * self.header.minibatches_per_epoch

    @property
    def remote_rows(self) -> int:
        """Remote rows requested by all trainers over the whole run, from the row groups' statistics."""
        metadata = self._file.metadata
        names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
        column = next(i for i, name in enumerate(names) if name.startswith("remote_ids"))
        return sum(metadata.row_group(group).column(column).num_values for group in self._epochs.values())

    def ids(self, rank: int, epoch: int) -> NDArray[np.int64]:
        """Only the remote ids of one epoch of one trainer, minibatch after minibatch."""
        return _lists(self._read([self._epochs[rank, epoch]], ["remote_ids"]).column("remote_ids"))[0]

    def nodes(self, partition: int) -> Nodes:
        """The remote nodes of a partition."""
        groups = self._nodes[partition]
        table = self._read(groups, ["node_ids", "degrees", "local_degrees", "vip"])
        without_vip = table.column("vip").null_count > 0
        columns = {name: table.column(name) for name in table.column_names if name != "vip" or not without_vip}
        for name, column in columns.items():
            if _has_nulls(column):
                raise InputError(f"{self.path}: row group {groups[0]}, column {name}: has nulls")
        arrays = {name: _lists(column)[0] for name, column in columns.items()}
        ids, local_degrees = arrays["node_ids"], arrays["local_degrees"]
        lengths = {name: len(array) for name, array in arrays.items()}
        if fault := node_fault(self.header, partition, ids, lengths, local_degrees):
            raise InputError(f"{self.path}: row group {groups[0]}, {fault}")
        return Nodes(ids, arrays["degrees"], local_degrees, arrays.get("vip"))

    def epoch(self, rank: int, epoch: int) -> Epoch:
        """One epoch of one trainer."""
        group = self._epochs[rank, epoch]
        table = self._read([group], ["minibatch", "remote_ids", "owner_done_s", *COUNTS, *TIMES])
        unrecorded = {name for name in (*TIMES, "owner_done_s") if table.column(name).null_count == len(table)}
        if self.header.format_version == 1:
            unrecorded = set()
        for name in table.column_names:
            if name not in unrecorded and _has_nulls(table.column(name)):
                raise InputError(f"{self.path}: row group {group}, column {name}: has nulls")
        count = self.header.minibatches_of(rank)
        if not np.array_equal(_numpy(table.column("minibatch")), np.arange(count)):
            raise InputError(f"{self.path}: row group {group}, column minibatch: not 0 to {count - 1} in order")
        ids, offsets = _lists(table.column("remote_ids"))
        counts = {name: _numpy(table.column(name)) for name in COUNTS}
        times = {name: _numpy(table.column(name)) for name in TIMES if name not in unrecorded}
        parts, lengths = self.header.partition.parts, None
        owner_done_s = np.full((count, parts), np.nan)
        if "owner_done_s" not in unrecorded:
            owners, owner_offsets = _lists(table.column("owner_done_s"))
            lengths = np.diff(owner_offsets)
        fault = minibatch_fault(self.header, self.header.partition_of(rank), ids, offsets, counts, times, lengths)
        if fault:
            raise InputError(f"{self.path}: row group {group}, {fault}")
        if lengths is not None:
            owner_done_s = owners.reshape(-1, parts)
        times |= {name: np.full(count, np.nan) for name in TIMES if name in unrecorded}
        return Epoch(rank, epoch, ids, offsets, counts | times, owner_done_s)

    def epochs(self, rank: int) -> Iterator[Epoch]:
        """All epochs of one trainer, one in memory at a time."""
        for epoch in range(self.header.epochs):
            yield self.epoch(rank, epoch)

    def steps(self) -> pl.DataFrame:
        """Counts and times of all minibatches without their ids: a row a minibatch a trainer, with `remote_rows`."""
        columns = ["rank", "epoch", "minibatch", *COUNTS, *TIMES, "owner_done_s"]
        table = self._read(sorted(self._epochs.values()), columns)
        frame = pl.DataFrame(pl.from_arrow(table))
        remote = (pl.col("input_nodes") - pl.col("local_nodes")).alias("remote_rows")
        return frame.with_columns(remote).sort("rank", "epoch", "minibatch")

    def _read(self, groups: list[int], columns: list[str]) -> pa.Table:
        try:
            return self._file.read_row_groups(groups, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            which = f"row group {groups[0]}" if len(groups) == 1 else f"one of row groups {groups[0]} to {groups[-1]}"
            raise InputError(f"{self.path}: {which} can't be read ({_first_line(error)})") from None

    def _check_columns(self) -> None:
        found = self._file.schema_arrow
        for field in SCHEMA:
            if field.name not in found.names:
                raise InputError(f"{self.path}: column {field.name} is missing; traces/README.md lists all columns")
            if not _same_type(found.field(field.name).type, field.type):
                kind = found.field(field.name).type
                raise InputError(f"{self.path}: column {field.name} is of type {kind}; it must be {field.type}")

    def _index(self) -> tuple[dict[int, list[int]], dict[tuple[int, int], int]]:
        """Find the row groups of each record, partition, rank and epoch, from the row groups' statistics."""
        nodes: dict[int, list[int]] = {}
        epochs: dict[tuple[int, int], int] = {}
        metadata = self._file.metadata
        positions = {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}
        for group in range(metadata.num_row_groups):
            row_group = metadata.row_group(group)

            def constant(name: str, row_group: pq.RowGroupMetaData = row_group, group: int = group) -> object:
                statistics = row_group.column(positions[name]).statistics
                if statistics is None or not statistics.has_min_max or statistics.min != statistics.max:
                    raise InputError(
                        f"{self.path}: row group {group}, column {name}: must hold one value, with statistics"
                    )
                return statistics.min

            if constant("record") == "nodes":
                nodes.setdefault(int(str(constant("partition"))), []).append(group)
            elif constant("record") == "minibatch":
                key = int(str(constant("rank"))), int(str(constant("epoch")))
                if key in epochs:
                    raise InputError(
                        f"{self.path}: row groups {epochs[key]} and {group} both hold rank {key[0]}, epoch {key[1]}"
                    )
                epochs[key] = group
            else:
                raise InputError(f"{self.path}: row group {group}, column record: neither 'nodes' nor 'minibatch'")
        return nodes, epochs

    def _check_cover(self) -> None:
        header = self.header
        if header.epochs == 0 or not self._epochs:
            raise InputError(f"{self.path}: an empty trace: it holds no whole epoch")
        for partition in range(header.partition.parts):
            if partition not in self._nodes:
                raise InputError(f"{self.path}: no row group with the nodes of partition {partition}")
        for rank in range(header.trainers):
            for epoch in range(header.epochs):
                if (rank, epoch) not in self._epochs:
                    raise InputError(f"{self.path}: no row group with rank {rank}, epoch {epoch}")


def _lists(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int64]]:
    """All values of a column of lists, and where each list begins and the last one ends."""
    array = column.combine_chunks()
    offsets = np.from_dlpack(array.offsets).astype(np.int64)
    return np.from_dlpack(array.flatten()), offsets - offsets[0]


def _numpy(column: pa.ChunkedArray) -> NDArray:
    """A column's values, shared and read-only. (pyarrow's own `to_numpy` imports pandas where it is installed.)"""
    return np.from_dlpack(column.combine_chunks())


def _has_nulls(column: pa.ChunkedArray) -> bool:
    """Whether a value is missing, or one in a list."""
    if column.null_count:
        return True
    return pa.types.is_nested(column.type) and column.combine_chunks().flatten().null_count > 0


def _same_type(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Equal but for the names of list elements, which other writers choose otherwise."""
    if pa.types.is_list(wanted):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and found.value_type == wanted.value_type
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return bool(found == wanted)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
