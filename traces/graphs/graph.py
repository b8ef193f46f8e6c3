"""A graph to train on, as plain numpy arrays, and its folder on disk: `.npy` files beside one `graph.json`."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError

FORMAT_VERSION = 1
ARRAYS: dict[str, tuple[str, int]] = {  # name: (dtype, dimensions), in the order of the checksum
    "src": ("int64", 1),
    "dst": ("int64", 1),
    "features": ("float32", 2),
    "labels": ("int64", 1),
    "train_mask": ("bool", 1),
    "valid_mask": ("bool", 1),
    "test_mask": ("bool", 1),
}
HASHED_BYTES = 1 << 26

Report = Callable[[str, float], None]
"""Called by a source with its current step, and the share of it that is done (0 to 1)."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph with node features, labels and a split; n nodes, e edges, d features a node.

    Messages flow along edges, from `src` to `dst`: sampling the neighbours of a node follows its in-edges.
    """

    name: str
    kind: Literal["real", "synthetic"]
    src: NDArray[np.int64]
    """(e,) node each edge leaves."""
    dst: NDArray[np.int64]
    """(e,) node each edge enters."""
    features: NDArray[np.float32]
    """(n, d)."""
    labels: NDArray[np.int64] | NDArray[np.uint8]
    """(n,) class of each node, 0 to `classes` - 1; -1 where it is unknown, which no node of the split has. Or, where a
    node may have several labels, (n, `classes`) uint8: 1 for each that it has."""
    train_mask: NDArray[np.bool_]
    """(n,); the three masks exclude each other, and need not cover every node."""
    valid_mask: NDArray[np.bool_]
    test_mask: NDArray[np.bool_]
    classes: int
    scale_note: str = ""
    """What a synthetic graph stands for and how much smaller it is; empty for a real one."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the graph comes from: source, what was and wasn't parsed, seed. JSON values only."""

    @property
    def num_nodes(self) -> int:
        return len(self.labels)

    @property
    def num_edges(self) -> int:
        return len(self.src)

    def counts(self) -> dict[str, int]:
        """Nodes, edges, feature width, classes and the size of each part of the split."""
        return {
            "num_nodes": self.num_nodes,
            "num_edges": self.num_edges,
            "feature_width": self.features.shape[1],
            "classes": self.classes,
            "train": int(self.train_mask.sum()),
            "valid": int(self.valid_mask.sum()),
            "test": int(self.test_mask.sum()),
        }

    def undirected(self) -> Graph:
        """The same nodes, with the reverse of every edge added once; self-loops and repetitions go.

        What DGL's own examples train on for OGB's citation graphs.
        """
        ends = np.concatenate([self.src, self.dst]), np.concatenate([self.dst, self.src])
        keys = np.sort(ends[0] * self.num_nodes + ends[1])
        src, dst = np.divmod(keys[np.append(True, keys[1:] != keys[:-1])], self.num_nodes)
        apart = src != dst
        provenance = self.provenance | {"reverse_edges": "added"}
        return replace(self, name=f"{self.name}-undirected", src=src[apart], dst=dst[apart], provenance=provenance)

    def checksum(self) -> str:
        """SHA-256 over every array's name, type, shape and little-endian bytes, as 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for name in ARRAYS:
            array = getattr(self, name)
            digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
            rows = max(1, HASHED_BYTES // max(1, array.nbytes // max(1, len(array))))
            for start in range(0, len(array), rows):
                block = array[start : start + rows]
                digest.update(np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def save(self, folder: Path | str) -> str:
        """Write the graph to `folder`, replacing what is there, and return its checksum.

        Everything is written to a temporary folder beside it and then renamed, so that an interrupted run
        leaves no half graph. Raises `InputError` when the arrays contradict each other or can't be written.
        """
        folder = Path(folder)
        self._check(f"graph {self.name}", "mend the source that built it")
        if not np.isfinite(self.features).all():
            raise InputError(f"graph {self.name}: features have values that aren't finite; mend its source")
        checksum = self.checksum()
        head = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "kind": self.kind,
            "scale_note": self.scale_note,
            **self.counts(),
            "checksum": checksum,
            "provenance": self.provenance,
        }
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
                new, old = Path(temporary, "new"), Path(temporary, "old")
                new.mkdir()  # inside, because a temporary folder is closed to other users
                for name in ARRAYS:
                    np.save(new / f"{name}.npy", getattr(self, name))
                (new / "graph.json").write_text(json.dumps(head, indent=2) + "\n", encoding="utf-8")
                if folder.exists():
                    os.replace(folder, old)
                os.replace(new, folder)
        except OSError as error:
            raise InputError(f"{folder}: can't write the graph ({error}); choose another --out") from error
        return checksum

    @classmethod
    def load(cls, folder: Path | str, verify: bool = False) -> Graph:
        """The graph in `folder`, its arrays memory-mapped and read-only.

        Types, shapes, node ids, labels and the split are always checked; `verify` also recomputes the checksum,
        which reads every byte. Raises `InputError` naming the file that is missing or wrong.
        """
        folder = Path(folder)
        remedy = f"write it again with `python -m traces.graphs NAME --out {folder} --force`"
        head = _read_head(folder, remedy)
        arrays = {name: _read_array(folder / f"{name}.npy", remedy) for name in ARRAYS}
        try:
            graph = cls(
                name=head["name"], kind=head["kind"], scale_note=head["scale_note"], classes=head["classes"],
                provenance=head["provenance"], **arrays,
            )  # fmt: skip
            graph._check(str(folder), remedy)
            for key, count in graph.counts().items():
                if head[key] != count:
                    wrong = f"{key} is {head[key]}, the arrays have {count}"
                    raise InputError(f"{folder / 'graph.json'}: {wrong}; {remedy}")
            checksum = head["checksum"]
        except KeyError as error:
            raise InputError(f"{folder / 'graph.json'}: has no {error}; {remedy}") from None
        if verify and graph.checksum() != checksum:
            raise InputError(f"{folder}: the arrays don't match the checksum in graph.json; {remedy}")
        return graph

    def _check(self, where: str, remedy: str) -> None:
        """Raise `InputError` unless types, shapes, node ids, labels and split agree."""

        def demand(holds: bool, name: str, wrong: str) -> None:
            if not holds:
                raise InputError(f"{where}: {name} {wrong}; {remedy}")

        for name, (dtype, dimensions) in ARRAYS.items():
            array = getattr(self, name)
            if name == "labels" and array.ndim == 2:
                dtype, dimensions = "uint8", 2
            demand(array.dtype == dtype, name, f"is {array.dtype}, not {dtype}")
            demand(array.ndim == dimensions, name, f"has {array.ndim} dimensions, not {dimensions}")
            length = self.num_edges if name in ("src", "dst") else self.num_nodes
            demand(len(array) == length, name, f"has {len(array)} rows, not {length}")
        demand(self.num_nodes > 0, "labels", "is empty: a graph needs a node")
        for name in ("src", "dst"):
            ids = getattr(self, name)
            inside = len(ids) == 0 or (ids.min() >= 0 and ids.max() < self.num_nodes)
            demand(inside, name, f"has node ids outside 0 to {self.num_nodes - 1}")
        if self.labels.ndim == 2:
            demand(self.labels.shape[1] == self.classes, "labels", f"has no {self.classes} columns, one a class")
            demand(self.labels.max() <= 1, "labels", "has values other than 0 and 1")
        else:
            inside = self.labels.min() >= -1 and self.labels.max() < self.classes
            demand(inside, "labels", f"has classes outside -1 to {self.classes - 1}")
        parts = self.train_mask.astype(np.int8) + self.valid_mask + self.test_mask
        demand(parts.max() <= 1, "train_mask, valid_mask and test_mask", "overlap")
        demand(not (self.labels[parts == 1] < 0).any(), "labels", "misses the class of a node of the split")


def _read_head(folder: Path, remedy: str) -> dict[str, Any]:
    path = folder / "graph.json"
    try:
        head = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, so {folder} holds no graph; {remedy}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read ({error}); {remedy}") from error
    version = head.get("format_version") if isinstance(head, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{path}: format_version is {version}, this release reads {FORMAT_VERSION}; {remedy}")
    return head


def _read_array(path: Path, remedy: str) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {remedy}") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: not a whole .npy file ({error}); {remedy}") from error


def random_split(
    num_nodes: int, rng: np.random.Generator, train: float = 0.6, valid: float = 0.2
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Train, valid and test masks, (n,) each, that share out all nodes at random; test gets what is left."""
    part = np.empty(num_nodes, dtype=np.int8)
    ends = np.round(np.cumsum([train, valid]) * num_nodes).astype(np.int64)
    for number, ids in enumerate(np.split(rng.permutation(num_nodes), ends)):
        part[ids] = number
    return part == 0, part == 1, part == 2
