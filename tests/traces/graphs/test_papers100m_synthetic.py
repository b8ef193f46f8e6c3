"""The synthetic citation graph: its published counts, and the structure that it promises."""

from __future__ import annotations

import networkx
import numpy as np
import pytest

from traces.graphs import papers100m_synthetic
from traces.graphs.graph import Graph

SCALE = 4000


def build(scale: int, seed: int = 0) -> Graph:
    return papers100m_synthetic.build(scale=scale, seed=seed, report=lambda *_: None)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return build(SCALE)


def test_counts_are_the_published_ones_divided(graph: Graph) -> None:
    assert graph.counts() == {
        "num_nodes": 27_765,
        "num_edges": 403_921,
        "feature_width": 128,
        "classes": 172,
        "train": 302,
        "valid": 31,
        "test": 54,
    }
    assert graph.kind == "synthetic"
    assert graph.scale_note == "synthetic, 1/4000 of ogbn-papers100M's published shape"
    assert int((graph.labels >= 0).sum()) == 302 + 31 + 54


def test_a_seed_is_a_graph() -> None:
    assert build(50_000, seed=1).checksum() == build(50_000, seed=1).checksum()
    assert build(50_000, seed=1).checksum() != build(50_000, seed=2).checksum()


def test_citations_are_distinct_and_have_no_cycle() -> None:
    small = build(50_000)
    edges = set(zip(small.src.tolist(), small.dst.tolist(), strict=True))
    assert len(edges) == small.num_edges
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph(edges))


def test_in_degrees_follow_a_power_law(graph: Graph) -> None:
    degrees = np.sort(np.bincount(graph.dst, minlength=graph.num_nodes))[::-1]
    tail = graph.num_nodes // 100
    exponent = 1 + 1 / np.log(degrees[:tail] / degrees[tail]).mean()  # Hill's estimate
    assert 2.2 < exponent < 3.5  # of a uniform random graph of this size it is 17
    assert degrees[0] > 50 * graph.num_edges / graph.num_nodes
    assert (degrees == 0).mean() > 0.05  # the newest papers


def test_neighbours_share_topics(graph: Graph) -> None:
    citing, cited = graph.labels[graph.src], graph.labels[graph.dst]
    labelled = (citing >= 0) & (cited >= 0)
    assert labelled.sum() > 500
    same = (citing == cited)[labelled].mean()
    by_chance = (np.random.default_rng(0).permutation(citing[labelled]) == cited[labelled]).mean()
    assert same > 0.25 > 5 * by_chance
    # unlabelled papers have topics too, which show in their features
    alike = np.einsum("ij,ij->i", graph.features[graph.src], graph.features[graph.dst]).mean()
    unlike = np.einsum("ij,ij->i", graph.features[graph.src], graph.features[graph.dst[::-1]]).mean()
    assert alike > 2 > 4 * abs(unlike)


def test_labelled_papers_cite_each_other_as_arxiv_does(graph: Graph) -> None:
    labelled = graph.labels >= 0
    by_chance = labelled.mean()
    assert labelled[graph.src][labelled[graph.dst]].mean() > 5 * by_chance
