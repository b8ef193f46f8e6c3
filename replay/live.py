"""`python -m replay.live`: train for real with the policy that won offline, and record the run as a capture does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.options import ModelHost, TimeoutS
from sim.runs.options import Agent, Buffer, CacheSpec, Depth, Init, InUniverse, Mode, PolicyFile, Trust, Window
from traces.cluster.options import THIS_PYTHON, Hosts, Python, Slurm, Ssh, choose_cluster
from traces.errors import InputError, run_command, sigterm_as_exception
from traces.job.script import LocalRank
from traces.output import folder_to_write
from traces.terminal import Json, Quiet, console, print_json

if TYPE_CHECKING:
    from replay.launch import LiveResult

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m replay.live --graph data/debian --policy results/best.json --local 4 --link 200mbit

python -m replay.live --graph data/debian --cache lru --buffer 10% --universe remote --local 2

python -m replay.live --graph data/debian --agent ollama:llama3 --window 8 --model GAT --check

python -m replay.live --graph /shared/products --policy best.json --hosts hosts.txt --batch 1000

python -m replay.live --policy best.json --trace t.parquet -- train.py ARGUMENTS

python -m replay.live --policy best.json --trace t.parquet --part-config mag.json --local 2 -- train.py ARGUMENTS
"""


@app.command(epilog=EXAMPLES)
def main(
    context: typer.Context,
    script: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- SCRIPT ARGUMENTS]",
            help="A script of yours to run with the policy, here, behind your own launcher, or on the cluster named.",
        ),
    ] = None,
    trace: Annotated[Path | None, typer.Option(help="The captured run of SCRIPT that the policy was found on.")] = None,
    part_config: Annotated[
        Path | None, typer.Option(help="Configuration of the partition that SCRIPT runs on.")
    ] = None,
    graph: Annotated[Path | None, typer.Option(help="Folder that `python -m traces.graphs` made.")] = None,
    policy: PolicyFile = None,
    agent: Agent = None,
    cache: CacheSpec = None,
    buffer: Buffer = None,
    init: Init = None,
    universe: InUniverse = None,
    window: Window = None,
    mode: Mode = None,
    depth: Depth = None,
    local: Annotated[
        int | None, typer.Option(help="Machines on this host, each with one METIS partition.", show_default="4")
    ] = None,
    link: Annotated[
        str | None, typer.Option(help="Rate of each local machine's link, such as 200mbit.", show_default="unshaped")
    ] = None,
    hosts: Hosts = None,
    slurm: Slurm = False,
    ssh: Ssh = "ssh",
    python: Python = THIS_PYTHON,
    form: Annotated[str, typer.Option(help="Local machines: auto, namespaces, userns or loopback.")] = "auto",
    trainers: Annotated[int, typer.Option(help="Trainers a machine.")] = 1,
    servers: Annotated[int, typer.Option(help="DistDGL servers a machine.")] = 1,
    samplers: Annotated[int, typer.Option(min=0, help="Processes that sample for each trainer of SCRIPT.")] = 0,
    partitions: Annotated[
        Path | None,
        typer.Option(help="Where partitions are kept and found again.", show_default="GRAPH/partition-PARTS"),
    ] = None,
    model: Annotated[str, typer.Option(help="GraphSAGE or GAT.")] = "GraphSAGE",
    hidden: Annotated[int, typer.Option(help="Hidden width of the model.")] = 64,
    fanout: Annotated[str, typer.Option(help="Neighbours a layer, the seeds' hop last.")] = "10,25",
    batch: Annotated[int, typer.Option(help="Seeds a minibatch a trainer.")] = 500,
    epochs: Annotated[int, typer.Option(help="Epochs to train.")] = 5,
    evaluate_every: Annotated[
        int | None, typer.Option(min=0, help="Epochs between evaluations; 0: never.", show_default="only at the end")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare every row from the buffer with its owner's, bit for bit (slow).")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of processes, policies and caches.", show_default="0")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the results.", show_default="results/live-DATE-TIME", callback=folder_to_write),
    ] = None,
    model_host: ModelHost = None,
    timeout_s: TimeoutS = 60.0,
    trust: Trust = False,
    recover: Annotated[
        bool, typer.Option("--recover", help="Keep the epochs that a killed run left for --out.")
    ] = False,
    limit_s: Annotated[float, typer.Option(help="The whole run is ended after this many seconds.")] = 36000.0,
    local_rank: LocalRank = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on a DistDGL cluster with a prefetching policy, the very code that the simulator ran.

    Trains GraphSAGE or GAT, or runs SCRIPT as it is (docs/your_job.md): put the command before it in your own launcher,
    or name a cluster here. The cluster is this machine (--local), hosts behind ssh (--hosts), or a Slurm allocation
    (--slurm). Shows every epoch as it ends; writes the same tables as sim.run, and the run's own trace, from which
    replay.compare tells how far a simulation of it is off. A run that dies or is ended by Ctrl-C keeps whole epochs.
    """
    from datetime import datetime

    from rich.console import Console

    if recover:
        from replay.launch import recover_live

        if out is None:
            raise InputError("--recover: name the killed run's folder with --out")
        _report(recover_live(out, trust), json, quiet)
        return
    if script or trace or part_config or samplers:
        _run_script(context)
        return
    if graph is None:
        raise InputError("--graph is missing: a folder that `python -m traces.graphs NAME --out DIR` made")
    folder = out or Path("results") / f"live-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.exists():
        raise InputError(f"--out {folder}: exists already; choose another, or remove it")

    from traces.capture.options import parse_fanout, require_distdgl

    require_distdgl()
    from agents.registry import ModelOptions
    from replay.launch import LivePlan, run_live, trace_file
    from replay.table import epoch_table
    from sim.config import RunConfig
    from sim.runs.choose import choose, refuse_model_options
    from traces.capture.launch import Capture, fragments_of
    from traces.cluster.errors import ClusterError
    from traces.cluster.partition import partition

    # a live run measures how long answers take, so it asks for each
    answers = ModelOptions(host=model_host, timeout_s=timeout_s, keep_answers=False)
    plan, options = choose(
        policy=policy,
        agent=agent,
        cache=cache,
        buffer=buffer,
        init=init,
        universe=universe,
        window=window,
        mode=mode,
        seed=None,
        model=answers,
        depth=depth,
        trust=trust,
    )
    refuse_model_options(plan, answers, live=True)
    if seed is not None and plan.buffered:
        options["seed"] = seed
    if check and not plan.buffered:
        raise InputError(f"--check holds rows of a buffer against their owners', but --agent {plan.name} has none")
    cluster = choose_cluster(
        parts=local,
        hosts=hosts,
        slurm=slurm,
        trainers=trainers,
        servers=servers,
        timeout_s=limit_s,
        link=link,
        form=form,
        python=python,
        ssh=ssh,
    )
    stderr = Console(stderr=True, quiet=quiet)
    cluster.check()  # before partitioning, which takes longer
    with stderr.status(f"partitioning into {cluster.parts}"):
        parts = partition(graph, cluster.parts, partitions or graph / f"partition-{cluster.parts}")
    capture = Capture(
        graph_dir=graph,
        part_config=parts,
        cluster=cluster,
        fanout=parse_fanout(fanout),
        batch_size=batch,
        epochs=epochs,
        model=model,
        hidden=hidden,
        evaluate_every=epochs if evaluate_every is None else evaluate_every,
        seed=seed or 0,
        program="replay.live",
    )
    config = RunConfig(trace="", trace_sha256="", agent=plan.name, agent_sha256=plan.sha256, **options)
    live = LivePlan(capture=capture, config=config, plan=plan, check=check)
    try:
        with sigterm_as_exception(), epoch_table(stderr, fragments_of(trace_file(folder)), epochs) as on_progress:
            finished = run_live(live, folder, on_progress)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    _report(finished, json, quiet)


ONLY_OURS = ("graph", "partitions", "model", "hidden", "fanout", "batch", "evaluate_every")
"""Options of our own training, which a script decides itself."""


def _run_script(context: typer.Context) -> None:
    """Run a user's script with the policy, and say where its results are."""
    options = context.params
    sources = {name: context.get_parameter_source(name) for name in options}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    for name in ONLY_OURS:
        if name in given:
            raise InputError(f"--{name.replace('_', '-')} and a script: the script says that; leave it out")
    if not options["script"]:
        raise InputError("no script: write it behind --, as in -- train.py ARGUMENTS")
    if options["trace"] is None:
        raise InputError("--trace is missing: a captured run of the script (traces.capture or traces.record)")
    from traces.capture.options import require_distdgl

    require_distdgl()
    from replay.scripted import live_script
    from traces.cluster.errors import ClusterError

    try:
        with sigterm_as_exception():
            folder = live_script(options, given)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    if folder is not None:
        screen = console(options["quiet"] or options["json"])
        screen.print(f"results in {folder}; whether its simulation counts alike: python -m replay.compare {folder}")


def _report(finished: LiveResult, json: bool, quiet: bool) -> None:
    summary, header = finished.summary, finished.header
    if json:
        print_json({"folder": finished.folder, "notice": header.notice, "rows": [summary]})
    screen = console(quiet or json)
    if header.notice:
        screen.print(f"[bold yellow]{header.notice}[/]")
    screen.print(
        f"{summary['policy']}: epoch {summary['epoch_s_mean']:.3f} s, stall {summary['stall_s_mean'] * 1e3:.1f} ms a "
        f"step, hits {summary['hit_rate_remote']:.1%} of remote rows, {summary['fetched_rows']:,} rows fetched"
    )
    if "score_val" in summary:
        scores = ", ".join(f"{split} {summary[f'score_{split}']:.4f}" for split in ("val", "test"))
        screen.print(f"accuracy (micro-F1 where labels are many): {scores}")
    screen.print(f"results in {finished.folder}; how far its simulation is off: ", end="")
    screen.print(f"python -m replay.compare {finished.folder}", soft_wrap=True)


if __name__ == "__main__":
    run_command(app)
