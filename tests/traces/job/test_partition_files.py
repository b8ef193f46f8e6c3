"""DGL's partition files: who owns what, in every form that DGL's tools write."""

import json
from pathlib import Path

import numpy as np
import pytest

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
    files = PartitionFiles.read(write(tmp_path / "mag.json"))
    with pytest.raises(InputError, match=r"part0/graph\.dgl: is missing on this host"):
        next(files.part_edges(0))
    with pytest.raises(InputError, match="GraphBolt's format alone can't be read"):
        next(files.part_edges(1))
