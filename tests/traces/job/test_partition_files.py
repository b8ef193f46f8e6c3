"""DGL's partition files: who owns what, in every form that DGL's tools write."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from traces.errors import InputError
from traces.job.partition_files import PartitionFiles

CONFIG = {
    "graph_name": "mag",
    "num_nodes": 20,
    "num_edges": 9,
    "num_parts": 2,
    "part_method": "metis",
    "node_map": {"author": [[0, 4], [10, 13]], "paper": [[4, 10], [13, 20]]},
    "edge_map": {"author:writes:paper": [[0, 5], [5, 9]]},
    "ntypes": {"author": 0, "paper": 1},
    "etypes": {"author:writes:paper": 0},
    "part-0": {"part_graph": "part0/graph.dgl", "node_feats": "part0/node_feat.dgl"},
    "part-1": {"part_graph_graphbolt": "part1/fused_csc_sampling_graph.pt"},
    "node_feat_names_of_gconstruct": ["whatever else a tool writes"],
}


def write(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps(CONFIG | changes))
    return path


def test_ids_of_types_and_of_the_whole_graph(tmp_path: Path) -> None:
    files = PartitionFiles.read(write(tmp_path / "metadata.json"))
    assert (files.parts, files.nodes, files.edges, files.graph_name) == (2, 20, 9, "mag")
    assert files.offsets.tolist() == [0, 10, 20]
    assert files.edge_types == ("author:writes:paper",)
    # authors 0 to 3 are partition 0's, 4 to 6 partition 1's; papers 0 to 5, and 6 to 12
    assert files.global_ids("author", np.array([0, 3, 4, 6])).tolist() == [0, 3, 10, 12]
    assert files.global_ids("paper", np.array([0, 5, 6, 12])).tolist() == [4, 9, 13, 19]
    for name, count in (("author", 7), ("paper", 13)):
        ids = files.global_ids(name, np.arange(count))
        assert files.typed_ids(name, ids).tolist() == list(range(count))
        assert files.of_type(name, np.arange(20)).nonzero()[0].tolist() == ids.tolist()


def test_what_older_tools_leave_out(tmp_path: Path) -> None:
    missing = ("ntypes", "etypes", "num_nodes", "part_method")
    config = {name: value for name, value in CONFIG.items() if name not in missing}
    (tmp_path / "old.json").write_text(json.dumps(config))
    files = PartitionFiles.read(tmp_path / "old.json")
    assert (files.nodes, files.method, files.edge_types) == (20, "unstated", ("author:writes:paper",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"node_map": "node_map.npy"}, "partition the graph with dgl 1.0 or newer"),
        ({"node_map": {"author": [[0, 4]], "paper": [[4, 10]]}}, "not one range a partition"),
        ({"num_parts": "two"}, "is no partition"),
    ],
)
def test_configurations_that_cannot_be_read(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        PartitionFiles.read(write(tmp_path / "mag.json", **changes))
    assert "mag.json" in str(error.value)


def test_graphs_that_cannot_be_read(tmp_path: Path) -> None:
    files = PartitionFiles.read(write(tmp_path / "mag.json", **{"part-1": {"node_feats": "part1/node_feat.dgl"}}))
    with pytest.raises(InputError, match=r"part0/graph\.dgl: is missing on this host"):
        next(files.part_edges(0))
    with pytest.raises(InputError, match="part-1 names no graph, only node_feats"):
        next(files.part_edges(1))


class FusedCSCSamplingGraph:
    """Stands for GraphBolt's class of this name: what a partition's file holds, with the attributes that it has."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


EDGES = {  # of partition 1, whose authors are 10 to 12 and whose papers are 13 to 19: source, destination, type
    0: ([10, 11, 2], [13, 13, 14]),
    1: ([13, 5], [10, 14]),
}


def test_graphbolts_format_is_read_where_dgl_has_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dgl.graphbolt", types.ModuleType("dgl.graphbolt"))
    changes = {"etypes": {"author:writes:paper": 0, "paper:by:author": 1}}
    files = PartitionFiles.read(write(tmp_path / "mag.json", **changes))
    # local ids are in no order: nodes that other partitions own (2, 5) come last, and have in-edges of nobody
    local = [13, 10, 14, 11, 12, 15, 16, 17, 18, 19, 2, 5]
    into = sorted(
        (local.index(dst), local.index(src), number)
        for number, (sources, destinations) in EDGES.items()
        for src, dst in zip(sources, destinations, strict=True)
    )
    graph = FusedCSCSamplingGraph(
        csc_indptr=torch.from_numpy(np.searchsorted([dst for dst, _, _ in into], np.arange(len(local) + 1))),
        indices=torch.tensor([src for _, src, _ in into], dtype=torch.int32),
        type_per_edge=torch.tensor([number for _, _, number in into], dtype=torch.uint8),
        node_attributes={"_ID": torch.tensor(local)},
        edge_attributes={},
    )
    path = tmp_path / CONFIG["part-1"]["part_graph_graphbolt"]
    path.parent.mkdir()
    torch.save(graph, path)
    found = {one.edge_type: sorted(zip(one.src, one.dst, strict=True)) for one in files.part_edges(1)}
    assert found == {name: sorted(zip(*EDGES[number], strict=True)) for name, number in changes["etypes"].items()}


def test_graphbolts_format_without_graphbolt_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dgl.graphbolt", None)  # as where dgl has none
    path = tmp_path / CONFIG["part-1"]["part_graph_graphbolt"]
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"sampling_graph\.pt: is in GraphBolt's format, and the installed dgl has no"):
        next(PartitionFiles.read(write(tmp_path / "mag.json")).part_edges(1))
