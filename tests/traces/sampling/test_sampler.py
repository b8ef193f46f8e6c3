"""The sampler against sets counted by hand, against DGL's own, and against chance."""

import dgl
import numpy as np
import pytest
import torch

from traces.sampling.csc import PartitionedGraph
from traces.sampling.sampler import Sampler


def graph_of(src, dst, nodes):
    return PartitionedGraph.of_edges(np.array(src), np.array(dst), np.array([0, nodes]), np.arange(nodes))


def star(leaves):
    """Node 0 with in-edges from all others."""
    return graph_of(np.arange(1, leaves + 1), np.zeros(leaves, np.int64), leaves + 1)


def random_edges(nodes, edges):
    rng = np.random.default_rng(5)
    return rng.integers(0, nodes, edges), (nodes * rng.random(edges) ** 2).astype(np.int64)


def one(sampler, seeds, seed=0):
    """A minibatch of all `seeds`: its input nodes and its counts."""
    epoch = sampler.epoch(np.array(seeds), len(seeds), (0, 0), np.random.default_rng(seed))
    return epoch.remote_ids[0], int(epoch.input_nodes[0]), int(epoch.sampled_edges[0])


def test_a_path_by_hand():
    """a -> b -> c, d -> c: of c, both neighbours and c itself are sampled again in the second hop."""
    graph = graph_of([0, 1, 3], [1, 2, 2], 4)
    ids, inputs, edges = one(Sampler(graph, (-1, -1)), [2])
    assert (ids.tolist(), inputs, edges) == ([0, 1, 2, 3], 4, 2 + 3)


@pytest.mark.parametrize("fanout", [(-1, -1), (100_000, 100_000), (-1, 2)])
def test_where_nothing_is_left_to_chance_it_is_dgls_own(fanout):
    src, dst = random_edges(300, 1500)
    theirs = dgl.graph((torch.tensor(src), torch.tensor(dst)), num_nodes=300)
    alone = [node for node in range(300) if theirs.in_degrees(node) <= 2]  # in (-1, 2): both of two are taken
    seeds = alone[:20] if fanout[-1] == 2 else list(range(0, 300, 13))
    inputs, _, blocks = dgl.dataloading.NeighborSampler(list(fanout)).sample_blocks(theirs, torch.tensor(seeds))
    ids, count, edges = one(Sampler(graph_of(src, dst, 300), fanout), seeds)
    assert ids.tolist() == sorted(inputs.tolist())
    assert (count, edges) == (len(inputs), sum(block.num_edges() for block in blocks))


@pytest.mark.parametrize(("leaves", "width"), [(11, 10), (30, 10), (200, 10), (200, 150)])
def test_neighbours_are_drawn_without_replacement_all_alike(leaves, width):
    draws, sampler, rng = 4000, Sampler(star(leaves), (width,)), np.random.default_rng(1)
    counts = np.zeros(leaves + 1, np.int64)
    pairs = 0
    for _ in range(draws):
        epoch = sampler.epoch(np.array([0]), 1, (0, 1), rng)
        assert len(epoch.remote_ids[0]) == width == epoch.sampled_edges[0]  # distinct ones
        counts[epoch.remote_ids[0]] += 1
        pairs += bool(np.isin([1, leaves], epoch.remote_ids[0]).all())  # the first and the last
    share = width / leaves
    sigma = np.sqrt(draws * share * (1 - share))
    assert np.abs(counts[1:] - draws * share).max() < 4.5 * sigma
    together = share * (width - 1) / (leaves - 1)
    assert abs(pairs - draws * together) < 4.5 * np.sqrt(draws * together * (1 - together))


def test_parallel_edges_are_two_and_a_neighbour_is_once_an_input():
    graph = graph_of([1, 1, 2], [0, 0, 0], 3)
    assert one(Sampler(graph, (3,)), [0])[1:] == (3, 3)
    found = [one(Sampler(graph, (1,)), [0], seed)[0].tolist() for seed in range(300)]
    assert 170 < found.count([0, 1]) < 230  # two of three edges are from node 1


def test_an_epoch_is_a_shuffle_in_minibatches_of_which_the_last_is_short():
    graph, share = star(50), np.arange(1, 48)
    epoch = Sampler(graph, (2,)).epoch(share, 10, (0, 0), np.random.default_rng(0))
    assert epoch.seeds.tolist() == [10, 10, 10, 10, 7]
    seen = np.concatenate(epoch.remote_ids)  # leaves have no neighbours, so inputs are the seeds
    assert sorted(seen.tolist()) == share.tolist()
    assert seen.tolist() != share.tolist()


def test_in_distribution_it_is_dgls_own():
    """Means and deviations of input nodes and of remote rows, over a thousand minibatches of each."""
    src, dst = random_edges(2000, 30_000)
    theirs = dgl.graph((torch.tensor(src), torch.tensor(dst)), num_nodes=2000).formats("csc")
    rng, seeds_rng = np.random.default_rng(3), np.random.default_rng(4)
    sampler, their_sampler = Sampler(graph_of(src, dst, 2000), (3, 5)), dgl.dataloading.NeighborSampler([3, 5])
    dgl.seed(7)
    ours_counts, their_counts = [], []
    for _ in range(1000):
        seeds = seeds_rng.choice(2000, 20, replace=False)
        epoch = sampler.epoch(seeds, 20, (0, 1000), rng)
        ours_counts.append((epoch.input_nodes[0], len(epoch.remote_ids[0]), epoch.sampled_edges[0]))
        inputs, _, blocks = their_sampler.sample_blocks(theirs, torch.from_numpy(seeds))
        their_counts.append((len(inputs), int((inputs >= 1000).sum()), sum(block.num_edges() for block in blocks)))
    a, b = np.array(ours_counts, float), np.array(their_counts, float)
    error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / 1000)
    assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all()
    assert a.std(axis=0) == pytest.approx(b.std(axis=0), rel=0.1)
