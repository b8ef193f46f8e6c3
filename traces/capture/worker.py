"""The training program that a capture runs in every process of the cluster: a GNN with DistDGL, recorded.

A live run is the same program with a buffer in the place of DistDGL's own feature fetch (`replay.worker`).
"""

# no `from __future__ import annotations`, as in `training`
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed

from traces.capture.block_edges import BlockEdges
from traces.capture.clock import offset_s
from traces.capture.evaluation import Split, evaluate
from traces.capture.fetch import DistStore, FeatureSource, MakeSource
from traces.capture.minibatches import Minibatches
from traces.capture.recorder import MODEL_FILE, SCORES_FILE, Recorder
from traces.capture.training import FEATURE, Training
from traces.cluster.process import Connection, connect


def run(arguments: dict[str, Any], make_source: MakeSource | None = None) -> dict[str, Any]:
    """Train and record; `make_source` may replace DistDGL's own feature fetch.

    Returns the step lengths of `_overhead`.
    """
    import dgl

    connection = connect()
    batch_size, epochs = arguments["batch_size"], arguments["epochs"]
    options = {"graph_sampler": dgl.dataloading.NeighborSampler(list(arguments["fanout"])), "batch_size": batch_size}
    nodes = _even_share(connection)
    loader = dgl.dataloading.DistNodeDataLoader(connection.graph, nodes, shuffle=True, **options)
    training = Training(connection, arguments)
    source: FeatureSource = DistStore({FEATURE: training.features})
    if make_source is not None:
        source = make_source(connection, arguments, -(-len(nodes) // batch_size))
    depth, device = arguments["depth"], training.device
    minibatches = Minibatches(loader, source, training.labels, depth, device, to_block=BlockEdges.of)
    fragments = Path(arguments["fragments"])
    recorder = _recorder(connection, fragments, arguments["shared_clock"])
    if connection.rank == 0:
        facts = {"gradient_bytes": training.gradient_bytes, "device": training.device.type}
        (fragments / MODEL_FILE).write_text(json.dumps(facts))
    for epoch in range(epochs):
        torch.distributed.barrier()
        _epoch(training, minibatches, recorder)
        source.end_epoch(epoch)
        if (every := arguments["evaluate_every"]) and (epoch + 1 == epochs or (epoch + 1) % every == 0):
            splits: list[Split] = ["val", "test"] if epoch + 1 == epochs else ["val"]
            scores = {split: evaluate(connection, training, split, options) for split in splits}
            if connection.rank == 0:
                with open(fragments / SCORES_FILE, "a") as lines:
                    lines.write(json.dumps({"epoch": epoch} | scores) + "\n")
        recorder.end_epoch(epoch)
    torch.distributed.barrier()
    return _overhead(training, loader, minibatches, recorder, arguments["overhead_epochs"], batch_size)


def _recorder(connection: Connection, fragments: Path, shared_clock: bool) -> Recorder:
    own = connection.graph.get_partition_book().partid2nids(connection.machine)
    offset = 0.0 if shared_clock else offset_s(connection.rank, connection.world_size)
    return Recorder(fragments, connection.rank, connection.machine, (int(own[0]), int(own[-1]) + 1), offset)


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
    source, prepared, start = minibatches.source, iter(minibatches), perf_counter()
    while (minibatch := next(prepared, None)) is not None:
        step = training.recorded_step(start, minibatch)
        recorder.add(step)
        source.stepped(step.times["stall_s"] or 0.0, step.times["step_s"] or 0.0)
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
