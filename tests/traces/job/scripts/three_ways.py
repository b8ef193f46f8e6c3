"""Small jobs, each run three times with the same seed: as it is, recorded, and with its minibatches prefetched.

All neighbours are sampled: minibatches then follow from torch's generator, and it does not matter which thread samples.
"""

import contextlib
import os
import shutil
from pathlib import Path

import dgl
import standin_2_4
import torch
import torch.nn.functional as F
from cases import ramp, sage

EPOCHS = 2


class FrameworksLoader(dgl.dataloading.DistNodeDataLoader):
    """As frameworks derive them, with what they add."""

    task = "mine"

    def __len__(self):
        return self.expected_idxs

    def __next__(self):
        input_nodes, seeds, blocks = super().__next__()
        return input_nodes, seeds, blocks


class Jobs:
    def __init__(self, arguments):
        self.out, self.policy = Path(arguments["out"]), arguments["policy"]
        standin_2_4.install()
        dgl.distributed.initialize(os.environ["DGL_IP_CONFIG"], use_graphbolt=False)
        torch.distributed.init_process_group("gloo")
        self.rank = torch.distributed.get_rank()
        self.graph = dgl.distributed.DistGraph("mine")
        self.book = self.graph.get_partition_book()
        self.sampler = dgl.dataloading.NeighborSampler([-1, -1])
        for name, dtype in (("half", torch.float16), ("codes", torch.int64)):
            shape = self.graph.num_nodes(), 3
            self.graph.ndata[name] = dgl.distributed.DistTensor(shape, dtype, name, init_func=ramp)
        torch.distributed.barrier()

    # loaders

    def nodes(self, kind):
        nodes = dgl.distributed.node_split(self.graph.ndata["train_mask"], self.book, force_even=True)[:240]
        return kind(self.graph, nodes, self.sampler, batch_size=60, shuffle=True)

    def edges(self, negatives=None):
        mask = torch.ones(self.graph.num_edges(), dtype=torch.bool)
        edges = dgl.distributed.edge_split(mask, self.book, force_even=True)[:200]
        options = {"negative_sampler": negatives} if negatives else {}
        return dgl.dataloading.DistEdgeDataLoader(
            self.graph, edges, self.sampler, batch_size=50, shuffle=True, **options
        )

    # losses

    def classify(self, model, minibatch):
        input_nodes, seeds, blocks = minibatch
        rows = torch.cat([self.graph.ndata[name][input_nodes].float() for name in ("features", "half", "codes")], 1)
        return F.cross_entropy(model(blocks, rows), self.graph.ndata["labels"][seeds])

    def predict_links(self, model, minibatch):
        input_nodes, positive, negative, blocks = minibatch
        hidden = model(blocks, self.graph.nodes["_N"].data["features"][input_nodes])
        scores = [(hidden[u] * hidden[v]).sum(1) for u, v in (positive.edges(), negative.edges())]
        wanted = [torch.ones(len(scores[0])), torch.zeros(len(scores[1]))]
        return F.binary_cross_entropy_with_logits(torch.cat(scores), torch.cat(wanted))

    def classify_edges(self, model, minibatch):
        input_nodes, pairs, blocks = minibatch
        hidden = model(blocks, self.graph.ndata["features"][input_nodes])
        u, v = pairs.edges()
        return F.cross_entropy(hidden[u] + hidden[v], self.graph.ndata["labels"][pairs.ndata[dgl.NID][v]])

    def jobs(self):
        """A loader, its width, and its loss, by name."""
        negatives = dgl.dataloading.negative_sampler.Uniform(2)
        return {
            "frameworks": (lambda: self.nodes(FrameworksLoader), 30, self.classify),
            "moved": (lambda: self.nodes(dgl.dataloading.DistNodeDataLoader), 30, self.classify),
            "links": (lambda: self.edges(negatives), 24, self.predict_links),
            "edges": (self.edges, 24, self.classify_edges),
        }

    def losses(self, name, put=lambda loader: loader):
        """Every minibatch's loss of one run; `put` may put something between loader and loop."""
        make, width, loss_of = self.jobs()[name]
        torch.manual_seed(self.rank)
        model = sage(width)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        loader, found = put(make()), []
        for _ in range(EPOCHS):
            iterator, count = iter(loader), 0
            while (minibatch := next(iterator, None)) is not None:
                loss = loss_of(model, minibatch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
                count += 1
            assert count == loader.expected_idxs
        if name == "frameworks":
            assert (len(loader), loader.task, loader.batch_size) == (loader.expected_idxs, "mine", 60)
        return found

    def recorded(self, name):
        from traces.record import Recorder

        # each machine has a /dev/shm of its own: no other trainer sees what one writes there
        folder = Path("/dev/shm") if name == "edges" else self.out
        with Recorder(folder / f"{name}.parquet", self.graph) as recorder:
            found = self.losses(name, recorder.watch)
        if folder != self.out and self.rank == 0:
            shutil.move(folder / f"{name}.parquet", self.out)
        return found

    def broken_off(self):
        """A recorded run that fails in its third epoch."""
        from traces.record import Recorder

        class Mine(Exception):
            pass

        with contextlib.suppress(Mine), Recorder(self.out / "broken.parquet", self.graph) as recorder:
            loader = recorder.watch(self.nodes(dgl.dataloading.DistNodeDataLoader))
            self.losses("moved", lambda _: loader)
            for _ in loader:
                raise Mine

    def prefetched(self, name):
        from replay.prefetch import prefetch
        from traces.job.observe import observer

        options = {"trace": self.out / f"{name}.parquet", "out": self.out / f"{name}-live"}
        torch.distributed.barrier()  # rank 0 writes the trace
        found = self.losses(
            name, lambda loader: prefetch(loader, self.graph, policy=self.policy, check=True, **options)
        )
        observer().finish()  # as at the end of a script
        return found


def main(arguments):
    jobs = Jobs(arguments)
    names = list(jobs.jobs())
    plain = {name: jobs.losses(name) for name in names}  # before any hook is there
    recorded = {name: jobs.recorded(name) for name in names}
    prefetched = {name: jobs.prefetched(name) for name in names}
    jobs.broken_off()
    return {"plain": plain, "recorded": recorded, "prefetched": prefetched}
