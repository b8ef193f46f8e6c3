"""METIS partitions of a graph, in DGL's format."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.cluster.errors import ClusterError
from traces.errors import InputError
from traces.graphs.graph import Graph

GRAPH_FILES = ("part_graph", "part_graph_graphbolt")
"""Keys of a part's graph in DGL's configuration, in DGL's own format and in GraphBolt's: one of them, or both."""


@dataclass(frozen=True)
class PartitionFacts:
    """Facts of a partition that DGL's configuration lacks; n nodes, p parts."""

    graph_name: str
    graph_checksum: str
    offsets: NDArray[np.int64]
    """(p + 1,) the partition book: part i owns the partition-global ids offsets[i] to offsets[i + 1] - 1."""
    edge_cut: int
    """Edges of the graph whose ends lie in different parts. Counted here: DGL's last line always says 0, and METIS's
    is a few off, because DGL lets it drop edges of the symmetric graph that it works on."""
    folder: Path

    def orig_nid(self) -> NDArray[np.int64]:
        """(n,) the id in the graph's folder of each partition-global id; memory-mapped."""
        return np.load(self.folder / "orig_nid.npy", mmap_mode="r")


def partition(graph_dir: Path, parts: int, out_dir: Path) -> Path:
    """Split the graph in `graph_dir` into `parts` with METIS, and return DGL's configuration file in `out_dir`.

    Parts are balanced in nodes, training nodes and edges, and hold the nodes one hop away (the halo). Node data are
    feat float32 (n, d), label int64, and train_mask, val_mask, test_mask bool. The same graph
    gives the same parts; DGL offers no seed. A partition of the same graph into as many parts by the same DGL is
    used again; any other partition in `out_dir` is replaced, whole or not at all.

    Raises `InputError` for a folder that holds no graph, an impossible number of parts, and an `out_dir` that
    holds something else; `ClusterError` with the log's last lines when partitioning fails.
    """
    graph = Graph.load(graph_dir)
    if not 1 <= parts <= graph.num_nodes:
        raise InputError(f"parts is {parts}: {graph_dir} can be split into 1 to {graph.num_nodes}")
    out_dir = out_dir.resolve()
    wanted = {
        "graph_name": graph.name,
        "graph_checksum": json.loads((graph_dir / "graph.json").read_text())["checksum"],
        "parts": parts,
        "dgl": importlib.metadata.version("dgl"),
    }
    config = out_dir / f"{graph.name}.json"
    if out_dir.exists() and any(out_dir.iterdir()):
        if not (out_dir / "facts.json").exists():
            raise InputError(f"{out_dir}: holds something other than a partition; choose another folder")
        found = json.loads((out_dir / "facts.json").read_text())
        if {name: found.get(name) for name in wanted} == wanted:
            return config
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out_dir.name}.", dir=out_dir.parent) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        _run_metis(graph_dir, parts, new)
        edge_cut = _edge_cut(graph, np.load(new / "orig_nid.npy"), _offsets(new / config.name))
        (new / "facts.json").write_text(json.dumps(wanted | {"edge_cut": edge_cut}, indent=2) + "\n")
        if out_dir.exists():
            os.replace(out_dir, old)
        os.replace(new, out_dir)
    return config


def read_facts(config: Path) -> PartitionFacts:
    """The facts of the partition whose DGL configuration is `config`, as `partition` returned it."""
    facts = json.loads((config.parent / "facts.json").read_text())
    return PartitionFacts(
        graph_name=facts["graph_name"],
        graph_checksum=facts["graph_checksum"],
        offsets=_offsets(config),
        edge_cut=facts["edge_cut"],
        folder=config.parent,
    )


def part_files(config: dict[str, Any], part: int) -> list[str]:
    """The files of one part of a configuration, by their paths from its folder. Raises `KeyError` for one that names no
    graph or no features."""
    named = config[f"part-{part}"]
    graphs = [named[kind] for kind in GRAPH_FILES if kind in named]
    return [*(graphs or [named[GRAPH_FILES[0]]]), named["node_feats"], named["edge_feats"]]


def check_parts(config: Path, parts: int) -> None:
    """Raise `InputError` unless `config` is a partition into `parts` with all its files there."""
    try:
        found = json.loads(config.read_text())
        number = found["num_parts"]
        files = [file for part in range(number) for file in part_files(found, part)]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{config}: is no partition of a graph ({error})") from error
    if number != parts:
        raise InputError(f"{config}: has {number} parts, the cluster has {parts}")
    if missing := [file for file in files if not (config.parent / file).is_file()]:
        raise InputError(f"{config.parent / missing[0]}: is missing; remove {config.parent}, and it is made anew")


def _offsets(config: Path) -> NDArray[np.int64]:
    ranges = json.loads(config.read_text())["node_map"]["_N"]
    return np.array([0, *(end for _, end in ranges)], dtype=np.int64)


def _edge_cut(graph: Graph, orig_nid: NDArray[np.int64], offsets: NDArray[np.int64]) -> int:
    owner = np.empty(graph.num_nodes, dtype=np.int32)
    owner[orig_nid] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return int(np.count_nonzero(owner[graph.src] != owner[graph.dst]))


def _run_metis(graph_dir: Path, parts: int, out_dir: Path) -> None:
    """Partition in a process of its own, so that its memory is freed and its output goes to a log."""
    log = out_dir / "metis.log"
    command = [sys.executable, "-m", "traces.cluster.partition", str(graph_dir.resolve()), str(parts), str(out_dir)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "DGLBACKEND": "pytorch",
        # Both for the same parts every time: with more threads, DGL hands METIS the edges in varying order, and METIS
        # reads memory that it never wrote, which glibc here fills with one byte.
        "OMP_NUM_THREADS": "1",
        "MALLOC_PERTURB_": "165",
    }
    with open(log, "wb") as output:
        # METIS keeps temporary files in the working folder.
        done = subprocess.run(command, env=environment, cwd=out_dir, stdout=output, stderr=output, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"{graph_dir}: could not be split into {parts} parts; last lines of the log:",
            returncode=done.returncode,
            log_lines=log.read_text(errors="replace").splitlines()[-20:],
        )


def _partition_here(graph_dir: Path, parts: int, out_dir: Path) -> None:
    import dgl
    import torch

    graph = Graph.load(graph_dir)
    dgl_graph: Any = dgl.graph((torch.tensor(graph.src), torch.tensor(graph.dst)), num_nodes=graph.num_nodes)
    dgl_graph.ndata["feat"] = torch.from_numpy(graph.features)  # stays memory-mapped: rows are only gathered from it
    dgl_graph.ndata["label"] = torch.tensor(graph.labels)
    dgl_graph.ndata["train_mask"] = torch.tensor(graph.train_mask)
    dgl_graph.ndata["val_mask"] = torch.tensor(graph.valid_mask)
    dgl_graph.ndata["test_mask"] = torch.tensor(graph.test_mask)
    orig_nid, _ = dgl.distributed.partition_graph(
        dgl_graph,
        graph.name,
        parts,
        str(out_dir),
        num_hops=1,
        part_method="metis",
        balance_ntypes=dgl_graph.ndata["train_mask"],
        balance_edges=True,
        return_mapping=True,
    )
    np.save(out_dir / "orig_nid.npy", orig_nid.numpy())


if __name__ == "__main__":
    _partition_here(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
