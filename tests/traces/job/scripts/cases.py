"""Many small jobs in one cluster, each recorded by `traces.record.Recorder`: what people ask of DGL's loaders.

Ranks are in another order than machines, two trainers a machine.
"""

import os
from pathlib import Path

import dgl
import torch
import torch.nn.functional as F
from torch import nn

from traces.record import Recorder


def ramp(shape, dtype):
    return (torch.arange(shape[0] * shape[1]) % 251).reshape(shape).to(dtype)


def sage(width, hidden=8):
    class SAGE(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = dgl.nn.SAGEConv(width, hidden, "mean"), dgl.nn.SAGEConv(hidden, 8, "mean")

        def forward(self, blocks, rows):
            return self.second(blocks[1], F.relu(self.first(blocks[0], rows)))

    return nn.parallel.DistributedDataParallel(SAGE())


class Cases:
    def __init__(self, arguments):
        self.out, self.part_config = Path(arguments["out"]), arguments["part_config"]
        dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"])
        torch.distributed.init_process_group("gloo")
        self.graph = dgl.distributed.DistGraph("mine")
        self.book = self.graph.get_partition_book()
        self.sampler = dgl.dataloading.NeighborSampler([4, -1])
        for name, dtype in (("half", torch.float16), ("small", torch.int8), ("long", torch.int64)):
            shape = self.graph.num_nodes(), 3
            self.graph.ndata[name] = dgl.distributed.DistTensor(shape, dtype, name, init_func=ramp)
        torch.distributed.barrier()

    def nodes(self, **options):
        nodes = dgl.distributed.node_split(self.graph.ndata["train_mask"], self.book, force_even=True)[:200]
        return dgl.dataloading.DistNodeDataLoader(
            self.graph, nodes, self.sampler, batch_size=60, shuffle=True, **options
        )

    def edges(self, **options):
        mask = torch.ones(self.graph.num_edges(), dtype=torch.bool)
        edges = dgl.distributed.edge_split(mask, self.book, force_even=True)[:200]
        return dgl.dataloading.DistEdgeDataLoader(
            self.graph, edges, self.sampler, batch_size=50, shuffle=True, **options
        )

    def run(self, name, loader, width, loss_of, epochs=2):
        """Train and record; what every minibatch really asked for is returned."""
        model = sage(width)
        optimizer = torch.optim.Adam(model.parameters())
        own, seen = self.book.partid2nids(self.book.partid), []
        with Recorder(self.out / f"{name}.parquet", self.graph, self.part_config) as recorder:
            for _ in range(epochs):
                for minibatch in recorder.watch(loader):
                    loss = loss_of(model, minibatch)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    inputs = minibatch[0]
                    remote = inputs[(inputs < own[0]) | (inputs > own[-1])].sort().values
                    seen.append({"remote": remote.tolist(), "inputs": len(inputs)})
        return seen

    def classify(self, model, minibatch):
        input_nodes, seeds, blocks = minibatch
        return F.cross_entropy(
            model(blocks, self.graph.ndata["features"][input_nodes]), self.graph.ndata["labels"][seeds]
        )

    def many_features(self, model, minibatch):
        input_nodes, seeds, blocks = minibatch
        names = ("features", "half", "small", "long")
        for name in names:
            rows, backwards = self.graph.ndata[name][input_nodes], self.graph.ndata[name][input_nodes.flip(0)]
            assert torch.equal(rows, backwards.flip(0))
        rows = [self.graph.ndata[name][input_nodes].float() for name in names]
        return F.cross_entropy(model(blocks, torch.cat(rows, 1)), self.graph.ndata["labels"][seeds])

    def predict_links(self, model, minibatch):
        input_nodes, positive, negative, blocks = minibatch
        hidden = model(blocks, self.graph.ndata["features"][input_nodes])
        scores = [(hidden[u] * hidden[v]).sum(1) for u, v in (positive.edges(), negative.edges())]
        wanted = [torch.ones(len(scores[0])), torch.zeros(len(scores[1]))]
        return F.binary_cross_entropy_with_logits(torch.cat(scores), torch.cat(wanted))

    def classify_edges(self, model, minibatch):
        input_nodes, pairs, blocks = minibatch
        hidden = model(blocks, self.graph.ndata["features"][input_nodes])
        u, v = pairs.edges()
        return F.cross_entropy(hidden[u] + hidden[v], self.graph.ndata["labels"][pairs.ndata[dgl.NID][v]])


def main(arguments):
    machine = int(os.environ["RUDDER_MACHINE"])  # ranks 2, 3 on machine 0, and 0, 1 on machine 1
    os.environ["RANK"] = str(2 * (1 - machine) + int(os.environ["LOCAL_RANK"]))
    os.environ["MASTER_ADDR"] = Path(os.environ["DGL_IP_CONFIG"]).read_text().split()[2]
    cases = Cases(arguments)
    negatives = dgl.dataloading.negative_sampler.Uniform(2)
    return {
        "rank": torch.distributed.get_rank(),
        "nodes": cases.run("nodes", cases.nodes(), 24, cases.classify),
        "drop_last": cases.run("drop_last", cases.nodes(drop_last=True), 24, cases.classify),
        "dtypes": cases.run("dtypes", cases.nodes(), 33, cases.many_features),
        "links": cases.run("links", cases.edges(negative_sampler=negatives), 24, cases.predict_links),
        "edges": cases.run("edges", cases.edges(), 24, cases.classify_edges),
    }
