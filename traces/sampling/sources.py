"""Where a partitioned graph comes from: a graph and its METIS partition, a graph and its owners, or DGL's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.checksum import sha256_of
from traces.cluster.partition import PartitionFacts, partition, read_facts
from traces.errors import InputError
from traces.graphs.graph import Graph
from traces.header import GraphInfo, PartitionInfo
from traces.job.partition_files import PartitionFiles
from traces.sampling.csc import InEdges, PartitionedGraph
from traces.sampling.folder import Partitioned, kept

FEATURES = ("feat", "features")
"""What node data that training fetches are called, ours and in DGL's examples."""

TRAIN_MASK = "train_mask"


def graph_info(graph: Graph, checksum: str) -> GraphInfo:
    """What a trace tells of a graph."""
    return GraphInfo(
        name=graph.name,
        kind=graph.kind,
        scale_note=graph.scale_note,
        checksum=checksum,
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        feature_dim=graph.features.shape[1],
        feature_dtype=str(graph.features.dtype),
        feature_bytes=graph.features.shape[1] * graph.features.itemsize,
        classes=graph.classes,
    )


def renumbered(graph: Graph, orig_nid: NDArray[np.int64], offsets: NDArray[np.int64]) -> PartitionedGraph:
    """A graph under partition-global ids; `orig_nid[i]` is what the graph itself calls node i."""
    new_of = np.empty(graph.num_nodes, np.int64)
    new_of[orig_nid] = np.arange(graph.num_nodes)
    return PartitionedGraph.of_edges(
        new_of[graph.src], new_of[graph.dst], offsets, new_of[np.flatnonzero(graph.train_mask)]
    )


def of_our_partition(graph: Graph, facts: PartitionFacts) -> PartitionedGraph:
    """A graph as METIS parted it for `traces.capture`."""
    return renumbered(graph, facts.orig_nid(), facts.offsets)


def from_graph(graph_dir: Path, parts: int, partitions: Path | None, arrays: Path | None) -> Partitioned:
    """A graph of `traces.graphs` in `parts`, as `traces.capture` parts it, which is done if it wasn't yet.

    Raises `InputError` where there is no graph, and where it must be parted and there is no dgl.
    """
    folder = partitions or graph_dir / f"partition-{parts}"
    config = _parted(graph_dir, parts, folder)
    facts = read_facts(config)
    source = {"graph": facts.graph_checksum, "parts": parts, "offsets": facts.offsets.tolist()}

    def make() -> Partitioned:
        graph = Graph.load(graph_dir)
        book = PartitionInfo(
            parts=parts, method="metis", offsets=tuple(facts.offsets.tolist()), edge_cut=facts.edge_cut
        )
        return Partitioned(of_our_partition(graph, facts), graph_info(graph, facts.graph_checksum), book)

    return kept(arrays or config.parent / "arrays", source, make)


def _parted(graph_dir: Path, parts: int, folder: Path) -> Path:
    """DGL's configuration of a graph's METIS partition: one that is there, by whatever dgl, or made now."""
    from traces.capture.options import require_distdgl

    if (folder / "facts.json").is_file():
        found = json.loads((folder / "facts.json").read_text())
        config = folder / f"{found['graph_name']}.json"
        wanted = json.loads((graph_dir / "graph.json").read_text())["checksum"] if graph_dir.is_dir() else ""
        if (found["graph_checksum"], found["parts"]) == (wanted, parts) and config.is_file():
            return config
    require_distdgl()
    return partition(graph_dir, parts, folder)


def from_owners(graph_dir: Path, owners_file: Path, arrays: Path | None) -> Partitioned:
    """A graph of `traces.graphs` whose node n belongs to host `owners[n]`, whoever parted it; needs no dgl.

    Raises `InputError` for owners that can't be.
    """
    graph = Graph.load(graph_dir)
    try:
        owners = np.load(owners_file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"--owners {owners_file}: no .npy file ({error})") from None
    if owners.shape != (graph.num_nodes,) or not np.issubdtype(owners.dtype, np.integer) or owners.min() < 0:
        raise InputError(f"--owners {owners_file}: must hold a host from 0 on for each of {graph.num_nodes} nodes")
    sizes = np.bincount(owners)
    if not sizes.all():
        raise InputError(f"--owners {owners_file}: no node belongs to host {int(np.argmin(sizes))}")
    checksum, sha256 = graph.checksum(), sha256_of(owners_file)

    def make() -> Partitioned:
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        parted = renumbered(graph, np.argsort(owners, kind="stable"), offsets)
        cut = int(np.count_nonzero(owners[graph.src] != owners[graph.dst]))
        method = f"owners in {owners_file.name}"
        book = PartitionInfo(parts=len(sizes), method=method, offsets=tuple(offsets.tolist()), edge_cut=cut)
        return Partitioned(parted, graph_info(graph, checksum), book)

    return kept(arrays or graph_dir / f"arrays-{sha256[:12]}", {"graph": checksum, "owners": sha256}, make)


def from_part_config(config: Path, arrays: Path | None, kind: str, scale_note: str) -> Partitioned:
    """The partition whose configuration DGL's tools wrote. Its files are read once, with dgl.

    Raises `InputError` for one that is none, of several node types, without training nodes or features, and where
    reading it needs dgl and there is none.
    """
    files = PartitionFiles.read(config)
    if len(files.node_ranges) > 1 or len(files.edge_types) > 1:
        types = ", ".join([*files.node_ranges, *files.edge_types])
        raise InputError(f"{config}: has several types ({types}); sampling offline knows graphs of one type")
    source = {"config": sha256_of(config), "files": _stamps(config), "kind": kind, "note": scale_note}
    return kept(arrays or config.parent / "arrays", source, lambda: _read_parts(files, kind, scale_note))


def _stamps(config: Path) -> list[list[Any]]:
    """Names, sizes and dates of all that lies beside a partition's configuration."""
    found = sorted(config.parent.glob("part*/*"))
    return [[path.relative_to(config.parent).as_posix(), (at := path.stat()).st_size, at.st_mtime_ns] for path in found]


def _read_parts(files: PartitionFiles, kind: Any, scale_note: str) -> Partitioned:
    from traces.capture.options import require_distdgl

    require_distdgl()
    edges = InEdges(files.nodes)
    for part in range(files.parts):
        for one in files.part_edges(part):
            edges.count(one.dst)
    cut, train, row = 0, [], (0, "", 0)
    for part in range(files.parts):
        lower, upper = files.offsets[part], files.offsets[part + 1]
        for one in files.part_edges(part):
            edges.add(one.src, one.dst)
            cut += int(np.count_nonzero((one.src < lower) | (one.src >= upper)))
        mask, row = _node_data(files.config, part)
        train.append(lower + np.flatnonzero(mask))
    info = GraphInfo(
        name=files.graph_name, kind=kind, scale_note=scale_note, nodes=files.nodes, edges=files.edges,
        feature_dim=row[0], feature_dtype=row[1], feature_bytes=row[2], classes=0,
    )  # fmt: skip
    graph = PartitionedGraph(edges.indptr, edges.indices, files.offsets, np.concatenate(train))
    book = PartitionInfo(parts=files.parts, method=files.method, offsets=tuple(files.offsets.tolist()), edge_cut=cut)
    return Partitioned(graph, info, book)


def _node_data(config: Path, part: int) -> tuple[NDArray[np.bool_], tuple[int, str, int]]:
    """The mask of training nodes of a part, and width, dtype and bytes of a row of its features."""
    import dgl

    path = config.parent / json.loads(config.read_text())[f"part-{part}"].get("node_feats", "missing")
    if not path.is_file():
        raise InputError(f"{path}: is missing on this host; the partition's files must all lie here")
    data = {name.rpartition("/")[2]: value for name, value in dgl.data.utils.load_tensors(str(path)).items()}
    feature = next((name for name in FEATURES if name in data), None)
    if TRAIN_MASK not in data or feature is None:
        raise InputError(f"{path}: has {', '.join(data)}; sampling needs {TRAIN_MASK} and {' or '.join(FEATURES)}")
    rows = data[feature]
    width = int(np.prod(rows.shape[1:], dtype=np.int64))
    return data[TRAIN_MASK].numpy().astype(bool), (
        width,
        str(rows.dtype).removeprefix("torch."),
        width * rows.element_size(),
    )
