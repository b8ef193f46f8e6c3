"""Partitions as users have them, made by `dgl.distributed.partition_graph`, with nothing of ours.

`python make_partition.py homogeneous|typed DIR PARTS`.
"""

import sys

import dgl
import numpy as np
import torch

COMMUNITIES = 8


def communities(rng, nodes):
    return np.sort(rng.integers(0, COMMUNITIES, nodes))


def edges(rng, count, of_src, of_dst):
    """Most of them inside a community."""
    dst = rng.integers(0, len(of_dst), count)
    start = np.searchsorted(of_src, np.arange(COMMUNITIES + 1))
    near = rng.integers(start[of_dst[dst]], np.maximum(start[of_dst[dst] + 1], start[of_dst[dst]] + 1))
    src = np.where(rng.random(count) < 0.9, np.minimum(near, len(of_src) - 1), rng.integers(0, len(of_src), count))
    return torch.from_numpy(src), torch.from_numpy(dst)


def homogeneous():
    rng = np.random.default_rng(1)
    community = communities(rng, 3000)
    graph = dgl.graph(edges(rng, 30_000, community, community), num_nodes=3000)
    graph.ndata["features"] = torch.from_numpy(rng.standard_normal((3000, 24), dtype=np.float32))
    graph.ndata["features"][:, 0] = torch.arange(3000)
    graph.ndata["labels"] = torch.from_numpy(community)
    split = rng.random(3000)
    for name, low, high in (("train_mask", 0, 0.5), ("val_mask", 0.5, 0.6), ("test_mask", 0.9, 1)):
        graph.ndata[name] = torch.from_numpy((split >= low) & (split < high))
    return graph, graph.ndata["train_mask"]


def typed():
    """Papers with wide features, institutions with narrow ones of half the precision, authors with none."""
    rng = np.random.default_rng(2)
    paper, author, inst = (communities(rng, count) for count in (3000, 2000, 200))
    cites, writes = edges(rng, 15_000, paper, paper), edges(rng, 12_000, author, paper)
    works_at = edges(rng, 3000, inst, author)
    graph = dgl.heterograph(
        {
            ("paper", "cites", "paper"): cites,
            ("author", "writes", "paper"): writes,
            ("paper", "written_by", "author"): writes[::-1],
            ("inst", "employs", "author"): works_at,
        },
        {"paper": 3000, "author": 2000, "inst": 200},
    )
    graph.nodes["paper"].data["feat"] = torch.from_numpy(rng.standard_normal((3000, 32), dtype=np.float32))
    graph.nodes["inst"].data["about"] = torch.from_numpy(rng.standard_normal((200, 8), dtype=np.float32)).half()
    graph.nodes["paper"].data["labels"] = torch.from_numpy(paper)
    graph.nodes["paper"].data["train_mask"] = torch.from_numpy(rng.random(3000) < 0.5)
    return graph, {"paper": graph.nodes["paper"].data["train_mask"]}


if __name__ == "__main__":
    kind, folder, parts = sys.argv[1:]
    graph, balanced = {"homogeneous": homogeneous, "typed": typed}[kind]()
    dgl.distributed.partition_graph(
        graph, "mine", int(parts), folder, num_hops=1, part_method="metis", balance_ntypes=balanced, balance_edges=True
    )
