"""The training program that a capture runs in every process of the cluster: GraphSAGE with DistDGL, recorded.

DistributedDataParallel's `backward()` hides waiting for the slowest trainer and the all-reduce. A communication hook
tells when this trainer's own gradients were ready; `traces.capture.assemble` then compares the trainers' clocks.
"""

# no `from __future__ import annotations`: DistributedDataParallel checks the hook's annotations as objects
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from traces.capture.fetch import DistStore, FeatureSource, MakeSource
from traces.capture.minibatches import Minibatches, Prepared
from traces.capture.model import GraphSAGE
from traces.capture.recorder import MODEL_FILE, Recorder, Step
from traces.cluster.process import Connection, connect


class Training:
    """One trainer's model and optimizer, ready to run steps."""

    def __init__(self, connection: Connection, arguments: dict[str, Any]) -> None:
        graph = connection.graph
        self.features, self.labels = graph.ndata["feat"], graph.ndata["label"]
        layers = len(arguments["fanout"])
        model = GraphSAGE(self.features.shape[1], arguments["hidden"], arguments["classes"], layers)
        self.model = DistributedDataParallel(model)
        self.gradients_ready_s = 0.0
        self.model.register_comm_hook(None, self._hook)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.003)
        self.loss = torch.nn.CrossEntropyLoss()

    def _hook(self, state: None, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        self.gradients_ready_s = perf_counter()  # of the last bucket, after the last call
        world = torch.distributed.group.WORLD
        assert world is not None  # `connect` made it
        return allreduce_hook(world, bucket)

    def plain_step(self, input_nodes: torch.Tensor, seeds: torch.Tensor, blocks: list[Any]) -> None:
        """A minibatch as DistDGL users write it, without any recording."""
        loss = self.loss(self.model(blocks, self.features[input_nodes]), self.labels[seeds])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def recorded_step(self, start: float, minibatch: Prepared) -> Step:
        """The same with a prepared minibatch, the clock read between its parts. The trainer turned to it at `start`."""
        prepared = perf_counter()
        loss = self.loss(self.model(minibatch.blocks, minibatch.features), minibatch.labels)
        self.optimizer.zero_grad()
        forward = perf_counter()
        loss.backward()
        backward = perf_counter()
        self.optimizer.step()
        end = perf_counter()
        ready = self.gradients_ready_s
        counts = {
            "seeds": len(minibatch.labels),
            "sampled_edges": sum(block.num_edges() for block in minibatch.blocks),
            "hit_rows": minibatch.fetch.hit_rows,
            "replacement_rows": minibatch.fetch.replacement_rows,
        }
        times = {
            "start_s": start,
            "prepare_start_s": minibatch.start,
            "stall_s": prepared - start,
            "sample_s": minibatch.sample_s,
            "fetch_s": minibatch.fetch_s,
            "local_gather_s": minibatch.fetch.local_gather_s,
            "label_s": minibatch.label_s,
            "forward_s": forward - prepared,
            "backward_s": ready - forward,
            "allreduce_s": backward - ready,  # waiting included; the trainers' clocks tell them apart later
            "update_s": end - backward,
            "step_s": end - start,
        }
        return Step(minibatch.input_nodes, counts, times, minibatch.fetch.owner_done_s, ready)


def run(arguments: dict[str, Any], make_source: MakeSource | None = None) -> dict[str, Any]:
    """Train and record; `make_source` puts something else in the place of DistDGL's own feature fetch.

    Returns the step lengths of `_overhead`.
    """
    import dgl

    connection = connect()
    sampler = dgl.dataloading.NeighborSampler(list(arguments["fanout"]))
    nodes, batch_size = _even_share(connection), arguments["batch_size"]
    loader = dgl.dataloading.DistNodeDataLoader(connection.graph, nodes, sampler, batch_size=batch_size, shuffle=True)
    training = Training(connection, arguments)
    source: FeatureSource = DistStore(training.features)
    if make_source is not None:
        source = make_source(connection, arguments, -(-len(nodes) // batch_size))
    minibatches = Minibatches(loader, source, training.labels, arguments["depth"])
    own = connection.graph.get_partition_book().partid2nids(connection.machine)
    fragments = Path(arguments["fragments"])
    recorder = Recorder(fragments, connection.rank, connection.machine, (int(own[0]), int(own[-1]) + 1))
    if connection.rank == 0:
        gradient_bytes = sum(p.numel() * p.element_size() for p in training.model.parameters())
        (fragments / MODEL_FILE).write_text(json.dumps({"gradient_bytes": gradient_bytes}))
    for epoch in range(arguments["epochs"]):
        torch.distributed.barrier()
        _epoch(training, minibatches, recorder)
        recorder.end_epoch(epoch)
    torch.distributed.barrier()
    return _overhead(training, loader, minibatches, recorder, arguments["overhead_epochs"], batch_size)


def _even_share(connection: Connection) -> torch.Tensor:
    """This trainer's training nodes. `node_split` gives shares that differ by one, and trainers with different numbers
    of minibatches hang in the all-reduce: all are cut to the smallest share."""
    import dgl

    mask, book = connection.graph.ndata["train_mask"], connection.graph.get_partition_book()
    nodes = dgl.distributed.node_split(mask, book, rank=connection.rank)
    smallest = torch.tensor(len(nodes))
    torch.distributed.all_reduce(smallest, torch.distributed.ReduceOp.MIN)
    return nodes[: int(smallest)]


def _epoch(training: Training, minibatches: Minibatches, recorder: Recorder) -> None:
    prepared, start = iter(minibatches), perf_counter()
    while (minibatch := next(prepared, None)) is not None:
        recorder.add(training.recorded_step(start, minibatch))
        start = perf_counter()


def _overhead(
    training: Training, loader: Any, minibatches: Minibatches, recorder: Recorder, epochs: int, batch_size: int
) -> dict[str, Any]:
    """Step lengths of recorded and plain minibatches, turn by turn; all trainers are in the same mode at a time.

    An epoch's short last minibatch would swamp the difference, so it is left out.
    """
    steps: dict[str, list[float]] = {"recorded": [], "plain": []}
    recorder.seconds = 0.0
    for epoch in range(epochs):
        sampled, turn = iter(loader), epoch
        while True:
            start = perf_counter()
            if (minibatch := next(sampled, None)) is None:
                break
            mode = "plain" if turn % 2 else "recorded"
            if mode == "plain":
                training.plain_step(*minibatch)
            else:
                recorder.add(training.recorded_step(start, minibatches.prepare(start, *minibatch)))
            if len(minibatch[1]) == batch_size:
                steps[mode].append(perf_counter() - start)
            turn += 1
    return steps | {"recorder_s": recorder.seconds}


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """The entry of every server and trainer process of a capture."""
    return run(arguments)
