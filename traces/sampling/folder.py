"""A partitioned graph in a folder of arrays: read once from wherever it comes, and memory-mapped from then on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from traces.errors import InputError
from traces.header import GraphInfo, PartitionInfo
from traces.output import writing
from traces.sampling.csc import PartitionedGraph

FACTS, ARRAYS = "arrays.json", ("indptr", "indices", "train")
VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Partitioned:
    """A partitioned graph, what a trace tells of it, and its partition book."""

    graph: PartitionedGraph
    info: GraphInfo
    partition: PartitionInfo


def kept(folder: Path, source: dict[str, Any], make: Callable[[], Partitioned]) -> Partitioned:
    """What `folder` keeps of `source`, made and kept there if it isn't there yet. `source` says of what it was made:
    where that has changed, it is made anew.

    Raises `InputError` for a folder that holds something else, or can't be written.
    """
    source = json.loads(json.dumps(source | {"version": VERSION}))
    if (found := _read(folder, source)) is not None:
        return found
    if folder.exists() and any(folder.iterdir()) and not (folder / FACTS).exists():
        raise InputError(f"{folder}: holds something other than a graph's arrays; choose another folder: --arrays")
    made = make()
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            new = Path(temporary, "new")
            new.mkdir()
            for name in ARRAYS:
                np.save(new / f"{name}.npy", getattr(made.graph, name))
            facts = {"source": source, "info": made.info.model_dump(), "partition": made.partition.model_dump()}
            (new / FACTS).write_text(json.dumps(facts, indent=2) + "\n")
            if folder.exists():
                os.replace(folder, Path(temporary, "old"))
            os.replace(new, folder)
    return _read(folder, source) or made


def _read(folder: Path, source: dict[str, Any]) -> Partitioned | None:
    try:
        facts = json.loads((folder / FACTS).read_text())
        if facts["source"] != source:
            return None
        indptr, indices, train = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
        info, partition = GraphInfo(**facts["info"]), PartitionInfo(**facts["partition"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Partitioned(PartitionedGraph(indptr, indices, np.array(partition.offsets), train), info, partition)
