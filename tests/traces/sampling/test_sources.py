"""Where partitioned graphs come from: the same edges whoever parted them, read once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from traces.cluster.partition import read_facts
from traces.errors import InputError
from traces.graphs.graph import Graph
from traces.job.partition_files import PartitionFiles
from traces.sampling.sources import from_graph, from_owners, from_part_config


def edges(graph, names):
    """All edges by `names` of their nodes, sorted."""
    dst = np.repeat(np.arange(graph.nodes), np.diff(graph.indptr))
    return sorted(zip(names[graph.indices].tolist(), names[dst].tolist(), strict=True))


@pytest.fixture
def whole(graph_dir):
    graph = Graph.load(graph_dir)
    return sorted(zip(graph.src.tolist(), graph.dst.tolist(), strict=True))


def test_a_metis_partition_has_the_edges_of_the_graph(graph_dir, part_config, tmp_path, whole):
    found = from_graph(graph_dir, 2, part_config.parent, tmp_path / "arrays")
    facts = read_facts(part_config)
    assert edges(found.graph, np.asarray(facts.orig_nid())) == whole
    train = np.flatnonzero(Graph.load(graph_dir).train_mask)
    assert sorted(facts.orig_nid()[found.graph.train].tolist()) == train.tolist()
    assert (found.partition.edge_cut, found.info.kind) == (facts.edge_cut, "synthetic")


def test_a_partition_that_is_there_needs_no_dgl(graph_dir, part_config, tmp_path):
    code = (
        "import sys; sys.modules['dgl'] = sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom traces.sampling.sources import from_graph\n"
        f"found = from_graph(Path({str(graph_dir)!r}), 2, Path({str(part_config.parent)!r}), Path({str(tmp_path)!r}))\n"
        "print(len(found.graph.indices))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert done.stdout.strip() == "40000", done.stderr


def test_dgls_files_have_the_same_edges_as_the_graph_they_are_of(graph_dir, part_config, tmp_path):
    ours = from_graph(graph_dir, 2, part_config.parent, tmp_path / "ours")
    theirs = from_part_config(part_config, tmp_path / "theirs", "unstated", "")
    assert np.array_equal(ours.graph.indptr, theirs.graph.indptr)
    assert np.array_equal(ours.graph.train, theirs.graph.train)
    names = np.arange(ours.graph.nodes)
    assert edges(ours.graph, names) == edges(theirs.graph, names)
    assert ours.partition.edge_cut == theirs.partition.edge_cut
    assert (theirs.info.feature_bytes, theirs.info.feature_dtype) == (400, "float32")


def test_owners_of_ones_own_need_no_partition(graph_dir, tmp_path, whole):
    owners = np.random.default_rng(0).integers(0, 3, 4000)
    np.save(tmp_path / "owners.npy", owners)
    found = from_owners(graph_dir, tmp_path / "owners.npy", tmp_path / "arrays")
    order = np.argsort(owners, kind="stable")
    assert edges(found.graph, order) == whole
    assert np.diff(found.partition.offsets).tolist() == np.bincount(owners).tolist()


@pytest.mark.parametrize(
    ("owners", "message"),
    [
        (np.zeros(5, np.int64), "a host from 0 on for each of 4000 nodes"),
        (np.zeros(4000), "a host from 0 on"),
        (np.full(4000, -1), "a host from 0 on"),
        (np.full(4000, 2), "no node belongs to host 0"),
    ],
)
def test_owners_that_cannot_be_are_refused(graph_dir, tmp_path, owners, message):
    np.save(tmp_path / "owners.npy", owners)
    with pytest.raises(InputError, match=message):
        from_owners(graph_dir, tmp_path / "owners.npy", tmp_path / "arrays")
    assert not (tmp_path / "arrays").exists()


def test_a_users_files_are_read_once_and_from_then_on_without_dgl(homogeneous, tmp_path):
    arrays = tmp_path / "arrays"
    found = from_part_config(homogeneous, arrays, "unstated", "")
    files = PartitionFiles.read(homogeneous)
    assert len(found.graph.indices) == files.edges == 30_000
    assert (found.info.feature_dim, found.info.feature_bytes, found.info.kind) == (24, 96, "unstated")
    code = (
        "import sys; sys.modules['dgl'] = sys.modules['torch'] = None\n"
        "from pathlib import Path\nfrom traces.sampling.sources import from_part_config\n"
        f"print(len(from_part_config(Path({str(homogeneous)!r}), Path({str(arrays)!r}), 'unstated', '').graph.indices))"
    )
    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    assert again.stdout.strip() == "30000", again.stderr


def test_arrays_of_something_else_are_made_anew_and_strange_folders_are_left_alone(graph_dir, part_config, tmp_path):
    from_graph(graph_dir, 2, part_config.parent, tmp_path / "arrays")
    assert from_part_config(part_config, tmp_path / "arrays", "unstated", "").info.kind == "unstated"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="holds something other than a graph's arrays; choose another folder"):
        from_graph(graph_dir, 2, part_config.parent, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_several_types_are_refused(typed):
    with pytest.raises(InputError, match=r"has several types \(.*paper.*\); sampling offline knows graphs of one type"):
        from_part_config(typed, None, "unstated", "")
