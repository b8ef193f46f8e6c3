"""`python -m sim.run`: one policy over one captured run, beside the baselines and the bound."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agents.options import AskAgain, ModelHost, TimeoutS
from sim.runs.options import Agent, Buffer, CacheSpec, Depth, Init, InUniverse, Mode, PolicyFile, Seed, Trust, Window
from traces.errors import InputError, run_command
from traces.output import folder_to_write
from traces.terminal import Json, Quiet, console, print_json, progress

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from rich.console import Console

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.run --trace traces/papers100m.parquet --agent every:16

python -m sim.run --trace traces/debian.parquet --agent never --buffer 10% --init degree

python -m sim.run --trace traces/debian.parquet --cache lru --buffer 64MB --universe remote --link 100mbit

python -m sim.run --trace traces/papers100m.parquet --agent ollama:llama3 --window 8

python -m sim.run --trace traces/debian.parquet --agent pipeline --depth 2 --link 1gbit --compute-speed 10

python -m sim.run --trace sampled.parquet --like traces/debian.parquet --cache lru

python -m sim.run --trace traces/debian.parquet --agent mine.py:Mine:threshold=.5 --cache my_package.my_module:MyCache
"""


CHANGED: Any = {"rich_help_panel": "Another cluster than the captured one"}


@app.command(epilog=EXAMPLES)
def main(
    trace: Annotated[Path | None, typer.Option(help="A trace: traces/*.parquet, or your own capture.")] = None,
    agent: Agent = None,
    cache: CacheSpec = None,
    buffer: Buffer = None,
    init: Init = None,
    universe: InUniverse = None,
    window: Window = None,
    mode: Mode = None,
    link: Annotated[
        str | None, typer.Option(help="Rate of each host's link, such as 1gbit, or captured.", show_default="captured")
    ] = None,
    latency_s: Annotated[
        float | None,
        typer.Option(min=0, help="Latency of each host's link, in seconds.", show_default="as captured", **CHANGED),
    ] = None,
    cluster: Annotated[
        Path | None,
        typer.Option(help="A cluster.toml: another cluster, slower agents (docs/configuration.md).", **CHANGED),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option(help="A scenario.toml: what is slower or fails, and when (docs/configuration.md).", **CHANGED),
    ] = None,
    depth: Depth = None,
    compute_speed: Annotated[float, typer.Option(help="How many times as fast the device is.", **CHANGED)] = 1.0,
    trainers_per_host: Annotated[
        int | None,
        typer.Option(
            min=1, help="Trainers among which a host's minibatches are dealt.", show_default="as captured", **CHANGED
        ),
    ] = None,
    feature_bytes: Annotated[
        int | None, typer.Option(min=1, help="Bytes of a row of features.", show_default="as captured", **CHANGED)
    ] = None,
    owners: Annotated[
        Path | None, typer.Option(help="Another partition: a .npy file with the host of every node.", **CHANGED)
    ] = None,
    cost: Annotated[
        Path | None, typer.Option(help="A cost model of sim.calibrate.", show_default="fitted to the trace", **CHANGED)
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(help="A captured run: things cost as there. For traces of traces.sample.", **CHANGED),
    ] = None,
    engine: Annotated[
        Literal["compiled", "simpy"],
        typer.Option(help="The engine for time; simpy is the same model in plain SimPy, and slow (docs/engine.md)."),
    ] = "compiled",
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Also write timeline.json for trace viewers, and how busy links were.")
    ] = False,
    breakdown: Annotated[
        bool, typer.Option("--breakdown", help="Also print every trainer's mean times a minibatch.")
    ] = False,
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="results/ID", callback=folder_to_write)
    ] = None,
    model_host: ModelHost = None,
    ask_again: AskAgain = False,
    timeout_s: TimeoutS = 60.0,
    policy: PolicyFile = None,
    trust: Trust = False,
    listing: Annotated[bool, typer.Option("--list", help="Show all policies and caches, and leave.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate one prefetching policy over a captured DistDGL run.

    Hit counts are exact; time is simulated with a cost model fitted to the trace. Prints the policy beside DistDGL
    without prefetching (none), pipelining without a buffer (pipeline), and the fewest rows that any policy could fetch
    (MIN), and writes tables, configuration, summary and a figure.
    """
    screen = console(quiet or json)
    if listing:
        _list(screen, json)
        return
    if trace is None:
        raise InputError(
            "--trace is missing; traces/debian.parquet and traces/papers100m.parquet come with the project"
        )

    gc.disable()  # imports and the trace stay in memory; collecting garbage among them takes a fifth of a short run
    from agents.registry import ModelOptions
    from sim.counts.policy_runs import decides
    from sim.reports.run_figure import Artist
    from sim.runs.choose import choose, refuse_model_options
    from sim.runs.experiment import INTERVALS, Experiment
    from sim.runs.twin import Twin

    model = ModelOptions(host=model_host, timeout_s=timeout_s, keep_answers=not ask_again)
    plan, options = choose(
        policy=policy,
        agent=agent,
        cache=cache,
        buffer=buffer,
        init=init,
        universe=universe,
        window=window,
        mode=mode,
        seed=seed,
        model=model,
        depth=depth,
        trust=trust,
    )
    refuse_model_options(plan, model)
    options |= {
        "link": link, "latency_s": latency_s, "cluster": cluster, "scenario": scenario, "compute_speed": compute_speed,
        "trainers_per_host": trainers_per_host, "feature_bytes": feature_bytes, "owners": owners,
        "engine": engine,
    }  # fmt: skip
    artist = Artist()
    twin = Twin.open(trace, {options.get("universe", "halo")}, cost, like)
    config, known = twin.config(plan, **options), twin.notices
    gc.freeze()
    gc.enable()
    for one in known:
        screen.print(f"[bold yellow]{one}[/]")
    policies = 4 if plan.buffered and decides(config) else 3
    minibatches = twin.header.trainers * twin.header.epochs * twin.header.minibatches_per_epoch
    with _progress(policies * minibatches, quiet) as on_progress:
        run = twin.simulate(config, plan=plan, bins=INTERVALS if timeline else 0, on_progress=on_progress)
        experiment = Experiment(run, on_progress)
        rows = experiment.rows
    folder = out or Path("results") / config.id
    experiment.write(folder, artist.begin)
    check = experiment.runs["none"].check()
    if json:
        found = {"run": config.id, "folder": folder, "notice": twin.header.notice, "notices": run.notices}
        print_json(found | {"usable_answers": run.row["usable_answers"], "rows": rows} | check)
    for one in run.notices:
        if one not in known:
            screen.print(f"[bold yellow]{one}[/]")
    _print(screen, rows, {} if run.decides else {run.plan.name: run.label})
    if breakdown:
        _print_breakdown(screen, run.minibatches)
    screen.print(experiment.describe())
    if check:
        shares = f"epoch {check['epoch_error_share']:+.1%}, fetch {check['fetch_error_share']:+.1%}"
        screen.print(f"the model against the captured run itself: {shares}")
    screen.print(f"results in {folder}; the picture is {folder / 'figure.png'}")


def _progress(steps: int, quiet: bool) -> Any:
    """A progress bar on stderr. Yields a function to call after every simulated minibatch."""
    import time
    from contextlib import contextmanager

    @contextmanager
    def bar_and_count() -> Any:
        with progress(quiet=quiet) as bar:
            task, done, drawn_s = bar.add_task("simulating", total=steps), 0, 0.0

            def on_progress() -> None:
                nonlocal done, drawn_s
                done += 1
                if (now_s := time.monotonic()) - drawn_s > 0.1:
                    bar.update(task, completed=done)
                    drawn_s = now_s

            yield on_progress

    return bar_and_count()


def _print(console: Console, rows: list[dict[str, Any]], labels: dict[str, str]) -> None:
    """The runs as a table, some policies under other names."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("policy", overflow="fold", max_width=24)
    headings = ["epoch", "vs none", "stall", "hits", "of halo", "fetched", "x MIN", "replaced", "answers used"]
    if all(row.get("usable_answers") == row.get("decisions") for row in rows):
        headings.pop()
    for name in headings:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        in_halo = "" if row["hit_rate_halo"] is None else f"{row['hit_rate_halo']:.1%}"
        counts = f"{row['hit_rate_remote']:.1%}", in_halo, f"{row['fetched_rows']:,}"
        times = ("bound", "", "")
        if "epoch_s_mean" in row:
            times = (
                f"{row['epoch_s_mean']:.3f} s",
                f"{row['vs_none']:+.1%}",
                f"{row['stall_s_mean'] * 1e3:.1f} ms",
            )
        least = row.get("fetched_over_min")
        did = ["", ""]
        if row.get("decisions"):
            did = [f"{row['replacements']:,}", f"{row['usable_answers']:,} of {row['decisions']:,}"]
        cells = [*times, *counts, f"{least:.2f}" if least else "", *did]
        table.add_row(labels.get(row["policy"], row["policy"]), *cells[: len(headings)])
    console.print(table)


def _print_breakdown(console: Console, table: Any) -> None:
    from rich.table import Table

    from sim.runs.timeline import breakdown

    found = breakdown(table)
    printed = Table(box=None, pad_edge=False, title="a minibatch of each trainer, ms", title_justify="left")
    for name in found.columns:
        printed.add_column(name.removesuffix("_ms"), justify="right")
    for row in found.rows():
        printed.add_row(*(str(value) if isinstance(value, int) else f"{value:.1f}" for value in row))
    console.print(printed)


def _list(console: Console, json: bool) -> None:
    from rich.table import Table

    from agents import registry as agents
    from sim.caches import registry as caches

    policies = {name: agents.RENAMES.with_former(name, entry.summary) for name, entry in agents.POLICIES.items()}
    kinds = {name: caches.cache_class(name) for name in caches.CACHES}
    kept = {name: caches.RENAMES.with_former(name, kind.summary) for name, kind in kinds.items()}

    def origin(given: EntryPoint) -> str:
        return f"{given.value} of {given.dist.name if given.dist else 'an installed package'}"  # without loading it

    if json:
        registered = [{name: origin(one) for name, one in of.NAMES.registered().items()} for of in (agents, caches)]
        print_json({"policies": policies | registered[0], "caches": kept | registered[1]})
        return
    table = Table("policy", "what it does", "source", title="--agent", title_justify="left")
    for name, entry in agents.POLICIES.items():
        table.add_row(entry.usage, policies[name], entry.source)
    for name, given in agents.NAMES.registered().items():
        table.add_row(name, "", origin(given))
    table.add_row(agents.OF_A_USER.usage, agents.OF_A_USER.summary, "docs/extending.md")
    console.print(table)
    table = Table("cache", "what it keeps", "source", title="--cache", title_justify="left")
    for name, kind in kinds.items():
        table.add_row(name, kept[name], kind.source)
    for name, given in caches.NAMES.registered().items():
        table.add_row(name, "", origin(given))
    table.add_row("FILE.py:CLASS", "what a cache of your own keeps", "docs/extending.md")
    console.print(table)


if __name__ == "__main__":
    run_command(app)
