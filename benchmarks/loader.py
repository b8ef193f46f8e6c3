"""What the live loader costs: policy `pipeline`, recorded, against a prefetch loop as one writes it by hand.

    python -m benchmarks.loader --graph data/debian --parts 2 --link 200mbit --pairs 12

Both train the same model in the same job, an epoch each in turn, so that whatever changes on the machine changes for
both. The hand-written loop prepares one minibatch ahead with DistDGL's own `graph.ndata["feat"][ids]`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
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
    pairs: Annotated[int, typer.Option(min=3, help="Epochs of each kind; the first of each is left out.")] = 12,
) -> None:
    from traces.cluster.local import LocalCluster, run_local
    from traces.cluster.partition import partition
    from traces.graphs.graph import Graph

    config = partition(graph, parts, graph / f"partition-{parts}")
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "fanout": (10, 25),
            "model": "GraphSAGE",
            "hidden": 64,
            "classes": Graph.load(graph).classes,
            "batch_size": batch,
            "pairs": pairs,
            "fragments": folder,
        }
        cluster = LocalCluster(parts=parts, link=link)
        run = run_local(cluster, config, f"{Path(__file__)}:train", arguments, Path(folder) / "logs")
    seconds = {name: np.array(run.values[0][name])[1:] for name in ("live", "by_hand")}
    difference = seconds["live"] - seconds["by_hand"]
    share, error = (value / seconds["by_hand"].mean() for value in (difference.mean(), _standard_error(difference)))
    print(f"epoch by hand {seconds['by_hand'].mean():.3f} s, live {seconds['live'].mean():.3f} s, {pairs - 1} pairs")
    print(f"live takes {share:+.2%} (standard error {error:.2%})")


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def train(arguments: dict[str, Any]) -> dict[str, list[float]]:
    """Every trainer's program."""
    import dgl
    import torch.distributed

    from traces.capture.fetch import DistStore
    from traces.capture.minibatches import Minibatches
    from traces.capture.recorder import Recorder
    from traces.capture.training import FEATURE, Training
    from traces.capture.worker import _epoch, _even_share
    from traces.cluster.process import connect

    connection = connect()
    sampler = dgl.dataloading.NeighborSampler(list(arguments["fanout"]))
    loader = dgl.dataloading.DistNodeDataLoader(
        connection.graph, _even_share(connection), sampler, batch_size=arguments["batch_size"], shuffle=True
    )
    training = Training(connection, arguments)
    minibatches = Minibatches(loader, DistStore({FEATURE: training.features}), training.labels, depth=1)
    own = connection.graph.get_partition_book().partid2nids(connection.machine)
    recorder = Recorder(
        Path(arguments["fragments"]), connection.rank, connection.machine, (int(own[0]), int(own[-1]) + 1)
    )
    seconds: dict[str, list[float]] = {"live": [], "by_hand": []}
    for pair in range(arguments["pairs"]):
        order = ("live", "by_hand") if pair % 2 else ("by_hand", "live")
        for kind in order:
            torch.distributed.barrier()
            start = perf_counter()
            if kind == "live":
                _epoch(training, minibatches, recorder)
            else:
                _epoch_by_hand(training, loader)
            torch.distributed.barrier()
            seconds[kind].append(perf_counter() - start)
            if kind == "live":
                recorder.end_epoch(pair)
    return seconds


def _epoch_by_hand(training: Any, loader: Any) -> None:
    for blocks, features, labels in _one_ahead(training, loader):
        loss = training.loss(blocks, features, labels)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()


def _one_ahead(training: Any, loader: Any) -> Iterator[tuple[Any, Any, Any]]:
    sampled = iter(loader)

    def prepare() -> tuple[Any, Any, Any] | None:
        minibatch = next(sampled, None)
        if minibatch is None:
            return None
        input_nodes, seeds, blocks = minibatch
        return blocks, training.features[input_nodes], training.labels[seeds]

    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(prepare)
        while (prepared := coming.result()) is not None:
            coming = pool.submit(prepare)
            yield prepared


if __name__ == "__main__":
    run_command(app)
