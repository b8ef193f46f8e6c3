"""`python -m traces.capture`: train on a real DistDGL cluster, here or on other hosts, and record it.

Trains GraphSAGE on a graph of `traces.graphs`, or runs a script of the user's on partitions of the user's.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from traces.capture.options import parse_fanout, require_distdgl
from traces.cluster.launcher import Cluster
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

python -m traces.capture --part-config parts/mag.json --local 2 --out mag.parquet -- train.py --ip_config {ip_config}

python -m traces.capture --recover --out traces/debian.parquet
"""


@app.command(epilog=EXAMPLES)
def main(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The trace to write.", callback=file_to_write)],
    script: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- SCRIPT ARGUMENTS]",
            help="What to run on --part-config; {ip_config}, {part_config} and {graph_name} stand for the job's.",
        ),
    ] = None,
    part_config: Annotated[
        Path | None, typer.Option(help="Configuration of a partition that DGL's tools made: run SCRIPT on it.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="Folder that `python -m traces.graphs` made.")] = None,
    parts: Annotated[
        int | None,
        typer.Option("--parts", "--local", help="Machines, each with a partition.", show_default="4, or all hosts"),
    ] = None,
    hosts: Hosts = None,
    slurm: Slurm = False,
    python: Python = THIS_PYTHON,
    ssh: Ssh = "ssh",
    trainers: Annotated[int, typer.Option(help="Trainers a machine.")] = 1,
    servers: Annotated[int, typer.Option(help="DistDGL servers a machine.")] = 1,
    samplers: Annotated[int, typer.Option(min=0, help="Processes that sample for each trainer of SCRIPT.")] = 0,
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
    on the hosts of --hosts or --slurm (docs/clusters.md says what they need). Trains GraphSAGE, or runs SCRIPT
    (docs/your_job.md), and records what every minibatch asked for and how long each part took. A run that dies leaves
    the epochs that were whole, marked incomplete.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from traces.info import report
    from traces.reader import Trace

    require_distdgl()
    from traces.capture import launch
    from traces.cluster.errors import ClusterError
    from traces.cluster.partition import partition
    from traces.job.partition_files import PartitionFiles

    if recover:
        launch.recover(out)
        report(Trace(out), json=json, quiet=quiet)
        return
    ours = ["--graph"] * (graph is not None) + _options_of_our_training(context)
    if part_config is not None and ours:
        raise InputError(f"{ours[0]} and --part-config: the script says that; leave it out")
    if part_config is None and (script or samplers):
        raise InputError(f"{'SCRIPT' if script else '--samplers'} needs --part-config: the partition that it trains on")
    if part_config is not None and not script:
        raise InputError("--part-config needs a script to run on it: write it behind --, as in -- train.py ARGUMENTS")
    if part_config is not None and parts is None and hosts is None and not slurm:
        parts = PartitionFiles.read(part_config).parts
    if graph is None and part_config is None:
        raise InputError("--graph is missing: a folder that `python -m traces.graphs NAME --out DIR` made")
    cluster = choose_cluster(
        parts=parts,
        hosts=hosts,
        slurm=slurm,
        trainers=trainers,
        servers=servers,
        samplers=samplers,
        timeout_s=timeout_s,
        link=link,
        form=form,
        python=python,
        ssh=ssh,
    )
    cluster.check()  # before partitioning, which takes longer
    if part_config is not None and script:
        _capture_script(cluster, part_config, script, out, seed, quiet)
        report(Trace(out), json=json, quiet=quiet)
        return
    assert graph is not None
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
                launch.capture(plan, out, on_progress=lambda finished: bar.update(task, completed=finished))
        except ClusterError as error:
            bar.stop()
            kept = f"\nthe whole epochs are kept in {out}, marked incomplete" if out.exists() else ""
            print(f"error: {error}{kept}", file=sys.stderr)
            sys.exit(1)
    report(Trace(out), json=json, quiet=quiet)


def _options_of_our_training(context: typer.Context) -> list[str]:
    """The options on the command line that say what our own model trains on, and how."""
    names = ("fanout", "batch", "epochs", "hidden", "policy", "overhead_epochs", "partitions")
    sources = {name: context.get_parameter_source(name) for name in names}
    given = [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    return [f"--{name.replace('_', '-')}" for name in given]


def _capture_script(cluster: Cluster, part_config: Path, script: list[str], out: Path, seed: int, quiet: bool) -> None:
    from rich.progress import TextColumn, TimeElapsedColumn

    from traces.cluster.errors import ClusterError
    from traces.job.launch import capture_job
    from traces.job.merge import Provenance

    provenance = Provenance(command=shlex.join(["python", "-m", "traces.capture", *sys.argv[1:]]))
    try:
        columns = (TextColumn("{task.description}"), TimeElapsedColumn())
        with sigterm_as_exception(), progress(*columns, quiet=quiet) as bar:
            bar.add_task(f"running {script[0]} on {cluster.parts} machines, and recording", total=None)
            capture_job(cluster, part_config, script, out, provenance, seed)
    except ClusterError as error:
        kept = f"\nthe whole epochs are kept in {out}, marked incomplete" if out.exists() else ""
        print(f"error: {error}{kept}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_command(app)
