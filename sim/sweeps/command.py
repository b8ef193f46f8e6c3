"""`python -m sim.sweep`: all combinations of traces, caches, policies and clusters, resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.runs.options import Trust
from traces.errors import InputError
from traces.output import folder_to_write
from traces.terminal import Json, Quiet, print_json, progress

if TYPE_CHECKING:
    from sim.cost.model import CostModel
    from sim.sweeps.grid import Grid, Plan
    from sim.sweeps.sampled import Samplings

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.sweep --trace traces/debian.parquet --agents "none pipeline every:16 random:.1" --buffers "5% 25%"

python -m sim.sweep --trace traces/papers100m.parquet --caches "score lru sieve min" --links "captured 1gbit" --dry-run

python -m sim.sweep --graph data/debian --parts "2 4" --batches "250 1000" --like traces/debian.parquet

python -m sim.sweep --config sweep.toml --out results/night --workers 8

python -m sim.sweep --config sweep.toml --ray auto
"""

Lists = list[str]

OFFLINE: Any = {"rich_help_panel": "Runs that nobody made, sampled offline (docs/sampling.md)"}


@app.command(epilog=EXAMPLES)
def main(
    config: Annotated[Path | None, typer.Option(help="A sweep.toml with the same lists as these options.")] = None,
    trace: Annotated[
        Lists | None, typer.Option(help="Traces. A list is words in quotes, or the option repeated.")
    ] = None,
    agents: Annotated[Lists | None, typer.Option(help="Policies, as in sim.run --list.")] = None,
    caches: Annotated[Lists | None, typer.Option(help="Caches, as in sim.run --list.  [score]")] = None,
    buffers: Annotated[Lists | None, typer.Option(help="Buffer sizes: 25%, 5000 or 64MB.  [25%]")] = None,
    universes: Annotated[Lists | None, typer.Option(help="halo, remote.  [halo]")] = None,
    inits: Annotated[Lists | None, typer.Option(help="degree, degree-global, empty, random.  [degree]")] = None,
    windows: Annotated[Lists | None, typer.Option(help="Minibatches between two observations.  [1]")] = None,
    modes: Annotated[Lists | None, typer.Option(help="async, sync.  [async]")] = None,
    links: Annotated[Lists | None, typer.Option(help="Link rates, such as 1gbit, or captured.  [captured]")] = None,
    scenarios: Annotated[Lists | None, typer.Option(help="Files as sim.run --scenario takes, or none.  [none]")] = None,
    seeds: Annotated[Lists | None, typer.Option(help="Seeds of policies and caches.  [0]")] = None,
    graph: Annotated[Path | None, typer.Option(help="Folder that traces.graphs made.", **OFFLINE)] = None,
    part_config: Annotated[
        Path | None, typer.Option(help="Instead: configuration of a partition that DGL's tools made.", **OFFLINE)
    ] = None,
    parts: Annotated[Lists | None, typer.Option(help="Machines of --graph.", **OFFLINE)] = None,
    trainers: Annotated[Lists | None, typer.Option(help="Trainers a machine.  [1]", **OFFLINE)] = None,
    batches: Annotated[Lists | None, typer.Option(help="Seeds a minibatch a trainer.  [500]", **OFFLINE)] = None,
    fanouts: Annotated[Lists | None, typer.Option(help="Neighbours a layer.  [10,25]", **OFFLINE)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of every sampled run.  [5]", **OFFLINE)] = None,
    sampling_seed: Annotated[int | None, typer.Option(min=0, help="Seed of sampling.  [0]", **OFFLINE)] = None,
    like: Annotated[Path | None, typer.Option(help="A captured run: things cost as there.", **OFFLINE)] = None,
    cost: Annotated[Path | None, typer.Option(help="Instead: a cost model of sim.calibrate.", **OFFLINE)] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the results; runs that it has are not run again.", callback=folder_to_write)
    ] = Path("results/sweep"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine.  [one a usable core]")] = None,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster to run on instead: auto, local, or ray://HOST:PORT.")
    ] = None,
    trust: Trust = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the runs, and leave.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate all combinations of the lists, on all cores or on a Ray cluster.

    Writes one row a run to OUT/runs.parquet. Results survive a crash: the same command goes on where it stopped. A run
    that fails is a row with its error. `python -m sim.report OUT` shows the results.
    """
    from rich.console import Console

    from sim.cost.model import cost_sha256
    from sim.runs.unseen import given_cost
    from sim.sweeps.grid import expand, read_grid
    from sim.sweeps.sampled import FOLDER, samplings
    from sim.sweeps.store import Store

    written = {
        "trace": trace, "agents": agents, "caches": caches, "buffers": buffers, "universes": universes, "inits": inits,
        "windows": windows, "modes": modes, "links": links, "scenarios": scenarios, "seeds": seeds,
        "parts": parts, "trainers": trainers, "batches": batches, "fanouts": fanouts,
    }  # fmt: skip
    given = {name: [word for text in texts or [] for word in text.split()] for name, texts in written.items()}
    offline = graph is not None or part_config is not None
    grid = read_grid(config, given, trust, offline)
    if offline:
        if (like is None) == (cost is None):
            raise InputError(
                "sampled runs have no times: say what things cost with one of --like CAPTURE and --cost FILE"
            )
        wanted = samplings(graph, part_config, grid.sampling, epochs or 5, sampling_seed or 0)
        if dry_run:
            _print_samplings(wanted, grid, json)
            return
        grid = replace(grid, trace=[*grid.trace, *_sampled(wanted, out / FOLDER, quiet or json)])
    elif epochs is not None or sampling_seed is not None:
        option = "--sampling-seed" if epochs is None else "--epochs"
        raise InputError(f"{option} is for runs that are sampled: it needs --graph or --part-config")
    model = given_cost(cost, like)
    plan = expand(grid, "" if model is None else cost_sha256(model))
    store = Store(out)
    table = store.read()
    done = set(table["run"]) if table.width else set()
    stderr = Console(stderr=True, quiet=quiet or json)
    stderr.print(_describe(plan, done))
    counts = {
        "combinations": plan.combinations,
        "runs": len(plan.configs),
        "done": sum(run in done for run in plan.configs),
    }
    if dry_run:
        if json:
            print_json(counts)
        return
    if ray is not None and workers is not None:
        raise InputError("--workers is for this machine; with --ray, the cluster's cores decide")
    todo = [config for run, config in plan.configs.items() if run not in done]
    with store.writing():
        try:
            for rows in _with_progress(_results(todo, plan, model, workers, ray), len(todo), quiet or json):
                store.append(rows)
        finally:
            store.compact()
    table = store.read()
    failed = table.filter(table["run"].is_in(list(plan.configs)) & table["error"].is_not_null()).height
    if json:
        print_json(counts | {"done": len(plan.configs), "failed": failed, "folder": out})
    stderr.print(f"{len(todo):,} runs done; of all {len(plan.configs):,}, {failed:,} failed")
    stderr.print(f"python -m sim.report {out}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _describe(plan: Plan, done: set[str]) -> str:
    lines = [f"{plan.combinations:,} combinations, {len(plan.configs):,} distinct runs"]
    lines += [f"  {count:,} counted once: {reason}" for reason, count in plan.collapsed.items()]
    if there := sum(run in done for run in plan.configs):
        lines.append(f"  {there:,} done before, {len(plan.configs) - there:,} to do")
    return "\n".join(lines)


def _sampled(wanted: Samplings, folder: Path, quiet: bool) -> list[str]:
    """Sample what isn't there yet, with a progress bar on stderr."""
    from sim.sweeps.sampled import sampled_traces

    with progress(quiet=quiet) as bar:
        task = bar.add_task("sampling", total=len(wanted))
        paths = sampled_traces(wanted, folder, lambda done: bar.update(task, completed=done))
    return [str(path) for path in paths]


def _print_samplings(wanted: Samplings, grid: Grid, json: bool) -> None:
    """What a sweep would sample; ids of its runs, and so which of them are done, are known when that is there."""
    from sim.sweeps.grid import SAMPLED

    others = [getattr(grid, one.name) for one in fields(grid) if one.name not in ("trace", *SAMPLED)]
    combinations = prod(map(len, others)) * (len(wanted) + len(grid.trace))
    if json:
        print_json({"samplings": len(wanted), "combinations": combinations})
    else:
        print(f"{len(wanted):,} samplings, {combinations:,} combinations")


def _results(
    todo: Sequence[Any],
    plan: Plan,
    model: CostModel | None,
    workers: int | None,
    ray: str | None,
) -> Iterator[list[dict[str, Any]]]:
    """Rows as they are finished."""
    from sim.runs.twin import Twin
    from sim.sweeps.batches import batches

    if not todo:
        return
    universes: dict[str, set[Any]] = {}
    for config in todo:
        universes.setdefault(config.trace_sha256, set()).add(config.universe)

    def opened() -> dict[str, Twin]:
        return {sha256: Twin.open(plan.files[sha256], kinds, model) for sha256, kinds in universes.items()}

    if ray is not None:
        from sim.sweeps.ray_workers import run_on_ray

        yield from run_on_ray(batches(todo), opened(), ray)
        return
    from sim.sweeps.pool import run_local
    from traces.cores import usable_cores

    yield from run_local(batches(todo), opened, workers or usable_cores())


def _with_progress(results: Iterator[list[dict[str, Any]]], total: int, quiet: bool) -> Iterator[list[dict[str, Any]]]:
    """Pass the rows on, and count them on a progress bar on stderr."""
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0.0:.1f} runs/s")

    columns = ("sweep", BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with progress(*columns, quiet=quiet) as bar:
        task = bar.add_task("sweep", total=total)
        for rows in results:
            yield rows
            bar.update(task, advance=len(rows))
