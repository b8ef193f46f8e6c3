import numpy as np
import pytest

from traces.cluster.partition import part_files, partition, read_facts
from traces.errors import InputError
from traces.graphs.graph import Graph


def test_facts_agree_with_the_graph(graph_dir, part_config):
    graph, facts = Graph.load(graph_dir), read_facts(part_config)
    assert facts.graph_name == "communities"
    assert facts.graph_checksum == graph.checksum()
    assert facts.offsets[0] == 0
    assert facts.offsets[-1] == graph.num_nodes
    orig_nid = facts.orig_nid()
    assert np.array_equal(np.sort(orig_nid), np.arange(graph.num_nodes))
    owner = np.empty(graph.num_nodes, dtype=np.int64)
    owner[orig_nid] = np.searchsorted(facts.offsets, np.arange(graph.num_nodes), side="right") - 1
    assert facts.edge_cut == np.sum(owner[graph.src] != owner[graph.dst])
    assert facts.edge_cut < 0.1 * graph.num_edges  # METIS found the communities
    train = np.bincount(owner[graph.train_mask], minlength=2)
    assert abs(train[0] - train[1]) < 0.1 * train.sum()


def test_in_edges_of_every_inner_node_are_there(graph_dir, part_config):
    import dgl

    graph, facts = Graph.load(graph_dir), read_facts(part_config)
    in_degree = np.bincount(graph.dst, minlength=graph.num_nodes)
    for part in range(2):
        local, features, *_ = dgl.distributed.load_partition(str(part_config), part)
        inner = local.ndata["inner_node"].bool().numpy()
        orig_nid = facts.orig_nid()[local.ndata[dgl.NID].numpy()]
        assert np.array_equal(local.in_degrees().numpy()[inner], in_degree[orig_nid[inner]])
        assert np.array_equal(features["_N/feat"].numpy(), graph.features[orig_nid[inner]])


def test_used_again_or_redone(graph_dir, part_config, tmp_path):
    out_dir = tmp_path / "parts"
    config = partition(graph_dir, 1, out_dir)
    assert read_facts(config).edge_cut == 0
    made = config.stat().st_mtime_ns
    assert partition(graph_dir, 1, out_dir) == config
    assert config.stat().st_mtime_ns == made
    redone, first = read_facts(partition(graph_dir, 2, out_dir)), read_facts(part_config)
    assert np.array_equal(redone.offsets, first.offsets)
    assert np.array_equal(redone.orig_nid(), first.orig_nid())  # the same graph, the same parts
    assert list(tmp_path.iterdir()) == [out_dir]


@pytest.mark.parametrize("parts", [0, -1, 4001])
def test_impossible_parts(graph_dir, tmp_path, parts):
    with pytest.raises(InputError, match="1 to 4000"):
        partition(graph_dir, parts, tmp_path / "parts")


def test_other_folders_are_left_alone(graph_dir, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="something other than a partition"):
        partition(graph_dir, 2, tmp_path)
    with pytest.raises(InputError, match="no graph"):
        partition(tmp_path, 2, tmp_path / "parts")


def test_a_part_has_its_graph_in_one_format_or_in_both():
    features = {"node_feats": "part0/node_feat.dgl", "edge_feats": "part0/edge_feat.dgl"}
    dgl, graphbolt = {"part_graph": "part0/graph.dgl"}, {"part_graph_graphbolt": "part0/fused_csc_sampling_graph.pt"}
    for graphs in (dgl, graphbolt, dgl | graphbolt):
        named = part_files({"part-0": features | graphs}, 0)
        assert named == [*graphs.values(), *features.values()]
    with pytest.raises(KeyError, match="part_graph"):
        part_files({"part-0": features}, 0)
