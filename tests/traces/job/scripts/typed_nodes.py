"""A user's script: RGCN over node types of different widths, with an embedding that training writes.

Papers and institutions have features, authors have a DistEmbedding. Evaluates in the middle of an epoch, and makes a
new loader every epoch.
"""

import argparse

import dgl
import torch
import torch.nn.functional as F
from torch import nn

WIDTHS = {"paper": 32, "inst": 8, "author": 12}


def draw(shape, dtype):
    return torch.zeros(shape, dtype=dtype).uniform_(-1, 1)


class RGCN(nn.Module):
    def __init__(self, edge_types, hidden, classes):
        super().__init__()
        self.project = nn.ModuleDict({name: nn.Linear(width, hidden) for name, width in WIDTHS.items()})
        self.layers = nn.ModuleList(
            dgl.nn.HeteroGraphConv({name: dgl.nn.SAGEConv(hidden, hidden, "mean") for name in edge_types}, "sum")
            for _ in range(2)
        )
        self.classify = nn.Linear(hidden, classes)

    def forward(self, blocks, rows):
        hidden = {name: self.project[name](one.float()) for name, one in rows.items()}
        for layer, block in zip(self.layers, blocks, strict=True):
            own = {name: one[: block.num_dst_nodes(name)] for name, one in hidden.items()}
            hidden = {name: F.relu(one) for name, one in layer(block, (hidden, own)).items()}
        return self.classify(hidden["paper"]) + 0 * sum(one.sum() for one in self.parameters())


def main(args):
    dgl.distributed.initialize(args.ip_config)
    torch.distributed.init_process_group(backend="gloo")
    graph = dgl.distributed.DistGraph(args.graph_name, part_config=args.part_config)
    book = graph.get_partition_book()
    authors = dgl.distributed.DistEmbedding(
        graph.num_nodes("author"), WIDTHS["author"], "authors", draw, graph.get_node_partition_policy("author")
    )
    nodes = dgl.distributed.node_split(graph.nodes["paper"].data["train_mask"], book, ntype="paper", force_even=True)
    nodes = nodes[:600]
    model = nn.parallel.DistributedDataParallel(RGCN(graph.etypes, 16, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    sparse = dgl.distributed.optim.SparseAdam([authors], lr=0.01)

    def rows_of(input_nodes):
        return {
            "paper": graph.nodes["paper"].data["feat"][input_nodes["paper"]],
            "inst": graph.nodes["inst"].data["about"][input_nodes["inst"]],
            "author": authors(input_nodes["author"]),
        }

    def loader_of(some, shuffle):
        sampler = dgl.dataloading.NeighborSampler([3, 4])
        return dgl.dataloading.DistNodeDataLoader(graph, {"paper": some}, sampler, batch_size=60, shuffle=shuffle)

    for epoch in range(args.num_epochs):
        losses = []
        for step, (input_nodes, seeds, blocks) in enumerate(loader_of(nodes, True)):
            rows = rows_of(input_nodes)
            labels = graph.nodes["paper"].data["labels"][seeds["paper"]]
            loss = F.cross_entropy(model(blocks, rows), labels)
            optimizer.zero_grad()
            sparse.zero_grad()
            loss.backward()
            optimizer.step()
            sparse.step()
            losses.append(loss.item())
            if step == 4:
                with torch.no_grad():
                    for some_inputs, _, some_blocks in loader_of(nodes[:100], False):
                        model.module(some_blocks, rows_of(some_inputs))
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} minibatches {len(losses)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph_name")
    parser.add_argument("--ip_config")
    parser.add_argument("--part_config")
    parser.add_argument("--num_epochs", type=int, default=2)
    main(parser.parse_args())
