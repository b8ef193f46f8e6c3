"""DGL's partition files: the owners of the nodes of each type, and the edges into each part.

Reads what `dgl.distributed.partition_graph`, DGL's distpartitioning and GraphStorm's gconstruct write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.job.part_graphs import FORMATS


@dataclass(frozen=True, slots=True, eq=False)
class PartEdges:
    """The edges of one type into the nodes of a partition: `src[e]` -> `dst[e]`, partition-global ids (int64)."""

    edge_type: str
    src: NDArray[np.int64]
    dst: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class PartitionFiles:
    """The partition that DGL's file `config` describes. Ids are homogeneous: all node types share one range of ids.

    The ids of a partition are contiguous, and within it those of a node type. `node_ranges` has shape (parts, 2) for
    each node type: partition p owns the nodes of that type from `[p, 0]` to `[p, 1] - 1`.
    """

    config: Path
    graph_name: str
    method: str
    nodes: int
    edges: int
    node_ranges: dict[str, NDArray[np.int64]]
    edge_types: tuple[str, ...]

    @property
    def parts(self) -> int:
        """Number of partitions."""
        return len(next(iter(self.node_ranges.values())))

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """Partition p owns the ids `offsets[p]` to `offsets[p + 1] - 1`. Shape (parts + 1,)."""
        ends = np.max([ranges[:, 1] for ranges in self.node_ranges.values()], axis=0)
        return np.concatenate([[0], ends])

    @cached_property
    def _starts(self) -> dict[str, NDArray[np.int64]]:
        """For each node type, the first id within the type that each partition owns, and the number of nodes."""
        return {
            name: np.concatenate([[0], np.cumsum(ranges[:, 1] - ranges[:, 0])])
            for name, ranges in self.node_ranges.items()
        }

    def global_ids(self, node_type: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The partition-global ids of nodes given by their ids within a type."""
        if len(self.node_ranges) == 1:
            return ids
        starts, ranges = self._starts[node_type], self.node_ranges[node_type]
        part = np.searchsorted(starts, ids, side="right") - 1
        return ids - starts[part] + ranges[part, 0]

    def typed_ids(self, node_type: str, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The inverse of `global_ids`."""
        if len(self.node_ranges) == 1:
            return ids
        starts, ranges = self._starts[node_type], self.node_ranges[node_type]
        part = np.searchsorted(self.offsets, ids, side="right") - 1
        return ids - ranges[part, 0] + starts[part]

    def of_type(self, node_type: str, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The mask of partition-global ids that belong to nodes of a type."""
        ranges = self.node_ranges[node_type]
        part = np.searchsorted(self.offsets, ids, side="right") - 1
        return (ids >= ranges[part, 0]) & (ids < ranges[part, 1])

    def part_edges(self, part: int) -> Iterator[PartEdges]:
        """The edges into the nodes of a partition, a type after another. Loads the partition's graph.

        Raises `InputError` for files that are missing, or in a format that this dgl can't read.
        """
        named = json.loads(self.config.read_text()).get(f"part-{part}", {})
        key = next((key for key in FORMATS if key in named), None)
        if key is None:
            raise InputError(f"{self.config}: part-{part} names no graph, only {', '.join(named) or 'nothing'}")
        path = self.config.parent / named[key]
        if not path.is_file():
            raise InputError(f"{path}: is missing on this host; the partition's files must all lie here")
        src, dst, types = FORMATS[key](path)
        start, end = self.offsets[part : part + 2]
        inner = (dst >= start) & (dst < end)
        of_src, of_dst = src[inner], dst[inner]
        of_type = None if types is None or len(self.edge_types) == 1 else types[inner]
        for number, name in enumerate(self.edge_types):
            chosen = slice(None) if of_type is None else np.flatnonzero(of_type == number)
            yield PartEdges(name, of_src[chosen], of_dst[chosen])

    @classmethod
    def read(cls, config: Path) -> PartitionFiles:
        """Read DGL's configuration. Raises `InputError` for a file that is none, or of an old kind without ranges."""
        try:
            found = json.loads(config.read_text())
            parts, node_map = int(found["num_parts"]), found["node_map"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{config}: is no partition of a graph ({error})") from None
        if not isinstance(node_map, dict):
            raise InputError(f"{config}: node_map has no ranges of nodes; partition the graph with dgl 1.0 or newer")
        order = found.get("ntypes") or {name: number for number, name in enumerate(node_map)}
        ranges = {name: np.array(node_map[name], np.int64) for name in sorted(node_map, key=lambda name: order[name])}
        if any(one.shape != (parts, 2) for one in ranges.values()):
            raise InputError(f"{config}: node_map has not one range a partition for every node type")
        edge_order = found.get("etypes") or {name: number for number, name in enumerate(found["edge_map"])}
        return cls(
            config=config,
            graph_name=str(found["graph_name"]),
            method=str(found.get("part_method", "unstated")),
            nodes=int(found.get("num_nodes") or max(int(one.max()) for one in ranges.values())),
            edges=int(found.get("num_edges") or _last_end(found["edge_map"])),
            node_ranges=ranges,
            edge_types=tuple(sorted(edge_order, key=lambda name: edge_order[name])),
        )


def _last_end(edge_map: dict[str, Any]) -> int:
    return max(int(end) for ranges in edge_map.values() for _, end in ranges)
