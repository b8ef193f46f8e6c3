"""`python -m traces.sample`: the minibatches of a run that nobody made, sampled offline as DistDGL would have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from traces.errors import InputError, run_command
from traces.output import file_to_write, writing
from traces.terminal import Json, Quiet, print_json, progress

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m traces.sample --graph data/debian --parts 4 --batch 1000 --fanout 5,10,15 --out sampled.parquet

python -m traces.sample --part-config parts/mag.json --trainers 4 --out sampled.parquet

python -m traces.sample --graph data/debian --owners owners.npy --out sampled.parquet

python -m sim.run --trace sampled.parquet --cache lru --like traces/debian.parquet
"""


@app.command(epilog=EXAMPLES)
def main(
    out: Annotated[Path, typer.Option(help="The trace to write.", callback=file_to_write)],
    graph: Annotated[Path | None, typer.Option(help="Folder that `python -m traces.graphs` made.")] = None,
    parts: Annotated[
        int | None, typer.Option(min=2, help="Machines: the graph is parted by METIS, as for traces.capture.")
    ] = None,
    partitions: Annotated[
        Path | None,
        typer.Option(help="Where partitions are kept and found again.", show_default="GRAPH/partition-PARTS"),
    ] = None,
    owners: Annotated[
        Path | None, typer.Option(help="Instead of --parts: a .npy file with the host of every node.")
    ] = None,
    part_config: Annotated[
        Path | None, typer.Option(help="Instead of --graph: configuration of a partition that DGL's tools made.")
    ] = None,
    synthetic: Annotated[
        str | None, typer.Option(help="The graph of --part-config is made up: what it is a model of.")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="The graph of --part-config is a real one.")] = False,
    arrays: Annotated[
        Path | None,
        typer.Option(help="Where the parted graph is kept as arrays.", show_default="beside the partition"),
    ] = None,
    trainers: Annotated[int, typer.Option(min=1, help="Trainers a machine.")] = 1,
    fanout: Annotated[str, typer.Option(help="Neighbours a layer, the seeds' hop last; -1: all.")] = "10,25",
    batch: Annotated[int, typer.Option(min=1, help="Seeds a minibatch a trainer.")] = 500,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sample a run offline into a trace without times: other batch sizes, fanouts, partitions and trainers.

    Every trainer gets the minibatches that DistDGL would have given it in distribution, seed for seed another draw. No
    cluster is needed, and dgl only where the graph has to be parted or DGL's files are read for the first time. Hits
    can be counted over the trace; for seconds, `sim.run --like CAPTURE` or `--cost` says what things cost.
    """
    import time

    from traces.capture.options import parse_fanout
    from traces.cores import usable_cores
    from traces.sampling.sources import from_graph, from_owners, from_part_config
    from traces.sampling.write import Settings, sample

    settings = Settings(
        fanout=parse_fanout(fanout), batch_size=batch, trainers_per_host=trainers, epochs=epochs, seed=seed
    )
    _check(graph, parts, owners, part_config, partitions, synthetic, real)
    began = time.perf_counter()
    with progress(quiet=quiet or json) as bar:
        task = bar.add_task("reading the graph", total=None)
        if part_config is not None:
            kind = "synthetic" if synthetic is not None else "real" if real else "unstated"
            parted = from_part_config(part_config, arrays, kind, synthetic or "")
        elif owners is not None:
            assert graph is not None
            parted = from_owners(graph, owners, arrays)
        else:
            assert graph is not None
            assert parts is not None
            parted = from_graph(graph, parts, partitions, arrays)
        bar.update(task, description="sampling", total=epochs * trainers * parted.partition.parts)
        with writing(out):
            header = sample(parted, settings, out, usable_cores(), lambda done: bar.update(task, completed=done))
    from traces.reader import Trace

    written, seconds = Trace(out), time.perf_counter() - began
    if json:
        print_json({"file": out, "notice": header.notice, "remote_rows": written.remote_rows, "seconds": seconds})
    elif not quiet:
        shape = f"{header.trainers} trainers, {header.epochs} epochs of {header.minibatches_per_epoch} minibatches"
        print(f"{out}: {header.notice}; {shape}, {written.remote_rows:,} remote rows, in {seconds:.1f} s")


def _check(
    graph: Path | None,
    parts: int | None,
    owners: Path | None,
    part_config: Path | None,
    partitions: Path | None,
    synthetic: str | None,
    real: bool,
) -> None:
    """Raise `InputError` for options that don't go together."""
    if (graph is None) == (part_config is None):
        raise InputError(
            "give either --graph, a folder that `python -m traces.graphs NAME --out DIR` made, or --part-config"
        )
    if part_config is not None:
        given = {"--parts": parts, "--owners": owners, "--partitions": partitions}
        for name in [name for name, value in given.items() if value is not None]:
            raise InputError(f"{name} and --part-config: the partition says that; leave it out")
        if real and synthetic is not None:
            raise InputError("--real and --synthetic: a graph is one or the other")
        return
    if (parts is None) == (owners is None):
        raise InputError("--graph needs either --parts, the number of machines, or --owners, the machine of every node")
    if owners is not None and partitions is not None:
        raise InputError("--partitions is for --parts; with --owners nothing is parted")
    if synthetic is not None or real:
        raise InputError("--synthetic and --real are for --part-config: the folder of --graph says that itself")


if __name__ == "__main__":
    run_command(app)
