"""What recording costs a job that knows nothing of it: epochs with and without the hook, in turn.

    python -m benchmarks.hook --graph data/debian --parts 2 --link 200mbit --pairs 40

A plain DistDGL loop trains GraphSAGE. Every other epoch an observer records it and writes what it recorded, which
counts. Prints the difference of the epochs' lengths, and of the processor time of all threads, which other work on the
machine disturbs less.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import typer

from traces.errors import run_command

app = typer.Typer(add_completion=False)


@app.command(help=__doc__)
def main(
    graph: Annotated[Path, typer.Option(help="Folder that `python -m traces.graphs` made.")] = Path("data/debian"),
    parts: Annotated[int, typer.Option(help="Machines.")] = 2,
    link: Annotated[str, typer.Option(help="Rate of each machine's link.")] = "200mbit",
    batch: Annotated[int, typer.Option(help="Seeds a minibatch a trainer.")] = 500,
    pairs: Annotated[int, typer.Option(min=3, help="Epochs of each kind; the first of each is left out.")] = 40,
) -> None:
    from traces.cluster.local import LocalCluster, run_local
    from traces.cluster.partition import partition
    from traces.graphs.graph import Graph

    config = partition(graph, parts, graph / f"partition-{parts}")
    with tempfile.TemporaryDirectory() as folder:
        classes = Graph.load(graph).classes
        arguments = {"folder": folder, "classes": classes, "batch_size": batch, "pairs": pairs}
        cluster = LocalCluster(parts=parts, link=link, timeout_s=3600)
        run = run_local(cluster, config, f"{Path(__file__)}:train", arguments, Path(folder) / "logs")
    for what, number in (("epoch", 0), ("processor time", 1)):
        plain, hooked = (np.mean([one[kind] for one in run.values], axis=0)[1:, number] for kind in ("plain", "hooked"))
        difference = hooked - plain
        share, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))
        means = f"{plain.mean():.3f} s without, {hooked.mean():.3f} s with the hook"
        relative = f"{share / plain.mean():+.2%} (standard error {error / plain.mean():.2%})"
        print(f"{what}: {means}, {len(difference)} pairs: {relative}; median {np.median(difference / plain):+.2%}")


def train(arguments: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Every trainer's program."""
    import dgl
    import torch
    import torch.nn.functional as F

    from traces.capture.model import GraphSAGE
    from traces.cluster.process import connect
    from traces.job.merge import Provenance
    from traces.job.observe import observe
    from traces.job.run import JobRecording

    connection = connect()
    graph, book = connection.graph, connection.graph.get_partition_book()
    nodes = dgl.distributed.node_split(graph.ndata["train_mask"], book, rank=connection.rank, force_even=True)
    sampler = dgl.dataloading.NeighborSampler([10, 25])
    options = {"batch_size": arguments["batch_size"], "shuffle": True, "drop_last": True}
    loader = dgl.dataloading.DistNodeDataLoader(graph, nodes, sampler, **options)
    width = graph.ndata["feat"].shape[1]
    model = torch.nn.parallel.DistributedDataParallel(GraphSAGE(width, 64, arguments["classes"], 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    recording = JobRecording(Path(arguments["folder"]) / "t.parquet", Provenance())
    recording.opened(graph, None)
    recording.joined()
    observe(recording)

    def epoch() -> None:
        for input_nodes, seeds, blocks in loader:
            rows, labels = graph.ndata["feat"][input_nodes], graph.ndata["label"][seeds]
            loss = F.cross_entropy(model(blocks, rows), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    measured: dict[str, list[tuple[float, float]]] = {"plain": [], "hooked": []}
    for pair in range(arguments["pairs"]):
        for kind in ("hooked", "plain") if pair % 2 else ("plain", "hooked"):
            observe(recording if kind == "hooked" else None, models=False)
            torch.distributed.barrier()
            start, cpu = perf_counter(), process_time()
            epoch()
            if kind == "hooked":
                recording.recorder.end_minibatch()
                recording.recorder.end_epoch()
            measured[kind].append((perf_counter() - start, process_time() - cpu))
            torch.distributed.barrier()
    return measured


if __name__ == "__main__":
    run_command(app)
