"""A user's script, in the shape of DGL's own train_dist.py: node classification, evaluated between epochs, with join.

It knows nothing of this project. Trainers have different numbers of minibatches.
"""

import argparse

import dgl
import torch
import torch.nn.functional as F
from torch import nn


class DistSAGE(nn.Module):
    def __init__(self, width, hidden, classes):
        super().__init__()
        self.layers = nn.ModuleList([dgl.nn.SAGEConv(width, hidden, "mean"), dgl.nn.SAGEConv(hidden, classes, "mean")])

    def forward(self, blocks, rows):
        return self.layers[1](blocks[1], F.relu(self.layers[0](blocks[0], rows)))

    def inference(self, graph, rows, batch_size):
        """Layer by layer over all nodes, with layers kept in the store."""
        nodes = dgl.distributed.node_split(
            torch.ones(graph.num_nodes(), dtype=torch.bool), graph.get_partition_book(), force_even=True
        )
        for number, layer in enumerate(self.layers):
            width = layer.fc_neigh.out_features
            out = dgl.distributed.DistTensor(
                (graph.num_nodes(), width), torch.float32, f"layer{number}", persistent=True
            )
            sampler = dgl.dataloading.NeighborSampler([-1])
            loader = dgl.dataloading.DistNodeDataLoader(graph, nodes, sampler, batch_size=batch_size, shuffle=False)
            for input_nodes, output_nodes, blocks in loader:
                hidden = rows[input_nodes]
                hidden = layer(blocks[0], (hidden, hidden[: blocks[0].num_dst_nodes()]))
                out[output_nodes] = hidden if number else F.relu(hidden)
            rows = out
            graph.barrier()
        return rows


def main(args):
    dgl.distributed.initialize(args.ip_config)
    torch.distributed.init_process_group(backend="gloo")
    graph = dgl.distributed.DistGraph(args.graph_name, part_config=args.part_config)
    book = graph.get_partition_book()
    nodes = dgl.distributed.node_split(graph.ndata["train_mask"], book, force_even=True)
    validation = dgl.distributed.node_split(graph.ndata["val_mask"], book, force_even=True)
    if torch.distributed.get_rank() == 0:
        nodes = nodes[: -args.batch_size - 1]  # a minibatch or two less than the others
    sampler = dgl.dataloading.NeighborSampler([int(one) for one in args.fan_out.split(",")])
    loader = dgl.dataloading.DistNodeDataLoader(graph, nodes, sampler, batch_size=args.batch_size, shuffle=True)
    model = nn.parallel.DistributedDataParallel(DistSAGE(graph.ndata["features"].shape[1], 16, args.n_classes))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for epoch in range(args.num_epochs):
        losses = []
        with model.join():
            for input_nodes, seeds, blocks in loader:
                rows = graph.ndata["features"][input_nodes]
                labels = graph.ndata["labels"][seeds].long()
                loss = F.cross_entropy(model(blocks, rows), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                if args.write_features:
                    graph.ndata["features"][seeds] = rows[: len(seeds)]
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} minibatches {len(losses)}")
        model.eval()
        with torch.no_grad():
            scores = model.module.inference(graph, graph.ndata["features"], 1000)[validation]
        model.train()
        right = (scores.argmax(1) == graph.ndata["labels"][validation]).float().mean()
        print(f"epoch {epoch} accuracy {right:.4f}")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--graph_name")
    parser.add_argument("--ip_config")
    parser.add_argument("--part_config")
    parser.add_argument("--n_classes", type=int, default=8)
    parser.add_argument("--num_epochs", type=int, default=2)
    parser.add_argument("--batch_size", type=int, default=60)
    parser.add_argument("--fan_out", default="4,4")
    parser.add_argument("--local_rank", "--local-rank", type=int)  # what torch.distributed.launch adds
    parser.add_argument("--write_features", action="store_true")
    main(parser.parse_args())
