"""`python -m traces.capture`: train GraphSAGE on a real DistDGL cluster, here or on other hosts, and record it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from traces.capture.options import parse_fanout, require_distdgl
from traces.cluster.options import THIS_PYTHON, Hosts, Python, Slurm, Ssh, choose_cluster
from traces.errors import InputError, run_command, sigterm_as_exception
from traces.output import file_to_write
from traces.terminal import Json, Quiet, progress

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m traces.graphs debian --out data/debian

python -m traces.capture --graph data/debian --parts 4 --link 200mbit --batch 500 --out traces/debian.parquet

python -m traces.capture --graph data/debian --hosts hosts.txt --out traces/debian.parquet

python -m traces.capture --recover --out traces/debian.parquet
"""


@app.command(epilog=EXAMPLES)
def main(
    out: Annotated[Path, typer.Option(help="The trace to write.", callback=file_to_write)],
    graph: Annotated[Path | None, typer.Option(help="Folder that `python -m traces.graphs` made.")] = None,
    parts: Annotated[
        int | None, typer.Option(help="Machines, each with one METIS partition.", show_default="4, or all hosts")
    ] = None,
    hosts: Hosts = None,
    slurm: Slurm = False,
    python: Python = THIS_PYTHON,
    ssh: Ssh = "ssh",
    trainers: Annotated[int, typer.Option(help="Trainers a machine.")] = 1,
    servers: Annotated[int, typer.Option(help="DistDGL servers a machine.")] = 1,
    link: Annotated[
        str | None, typer.Option(help="Rate of each machine's link, such as 200mbit.", show_default="unshaped")
    ] = None,
    fanout: Annotated[str, typer.Option(help="Neighbours a layer, the seeds' hop last.")] = "10,25",
    batch: Annotated[int, typer.Option(help="Seeds a minibatch a trainer.")] = 500,
    epochs: Annotated[int, typer.Option(help="Epochs to record.")] = 5,
    hidden: Annotated[int, typer.Option(help="Hidden width of GraphSAGE.")] = 64,
    policy: Annotated[
        Literal["none", "pipeline"], typer.Option(help="Prepare minibatches in turn with training, or one ahead of it.")
    ] = "none",
    overhead_epochs: Annotated[
        int, typer.Option(help="More epochs, not recorded, in which recorded and plain minibatches take turns.")
    ] = 4,
    partitions: Annotated[
        Path | None,
        typer.Option(help="Where partitions are kept and found again.", show_default="GRAPH/partition-PARTS"),
    ] = None,
    form: Annotated[str, typer.Option(help="auto, namespaces, userns or loopback.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of every process.")] = 0,
    timeout_s: Annotated[float, typer.Option(help="The run is ended after this many seconds.")] = 3600.0,
    recover: Annotated[bool, typer.Option("--recover", help="Keep the epochs that a killed capture left.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Capture a real DistDGL run into a trace.

    Starts servers and trainers as real processes, here with a network namespace a machine and its link shaped by tc, or
    on the hosts of --hosts or --slurm (docs/clusters.md says what they need). Trains GraphSAGE, and records what every
    minibatch asked for and how long each part took. A run that dies leaves the epochs that were whole, marked
    incomplete.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from traces.info import report
    from traces.reader import Trace

    require_distdgl()
    from traces.capture import launch
    from traces.cluster.errors import ClusterError
    from traces.cluster.partition import partition

    if recover:
        launch.recover(out)
        report(Trace(out), json=json, quiet=quiet)
        return
    if graph is None:
        raise InputError("--graph is missing: a folder that `python -m traces.graphs NAME --out DIR` made")
    cluster = choose_cluster(
        parts=parts,
        hosts=hosts,
        slurm=slurm,
        trainers=trainers,
        servers=servers,
        timeout_s=timeout_s,
        link=link,
        form=form,
        python=python,
        ssh=ssh,
    )
    cluster.check()  # before partitioning, which takes longer
    parts = cluster.parts
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with progress(*columns, quiet=quiet) as bar:
        task = bar.add_task(f"partitioning into {parts}", total=None)
        config = partition(graph, parts, partitions or graph / f"partition-{parts}")
        plan = launch.Capture(
            graph_dir=graph,
            part_config=config,
            cluster=cluster,
            fanout=parse_fanout(fanout),
            batch_size=batch,
            epochs=epochs,
            hidden=hidden,
            policy=policy,
            depth=int(policy == "pipeline"),
            overhead_epochs=overhead_epochs,
            seed=seed,
        )
        bar.update(task, description="training and recording, epochs", total=epochs)
        try:
            with sigterm_as_exception():
                launch.capture(plan, out, tell=lambda whole: bar.update(task, completed=whole))
        except ClusterError as error:
            bar.stop()
            kept = f"\nthe whole epochs are kept in {out}, marked incomplete" if out.exists() else ""
            print(f"error: {error}{kept}", file=sys.stderr)
            sys.exit(1)
    report(Trace(out), json=json, quiet=quiet)


if __name__ == "__main__":
    run_command(app)
