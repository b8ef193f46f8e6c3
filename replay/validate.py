"""`python -m replay.validate`: a grid of live runs, and how far their simulations are off."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.runs.options import Trust
from traces.errors import InputError, run_command, sigterm_as_exception
from traces.output import atomic_write, file_to_write, folder_to_write, write_table
from traces.terminal import Json, Quiet, command_line, console, print_json

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m replay.validate --grid benchmarks/fidelity.toml --docs docs/validation/fidelity.md

python -m replay.validate --grid benchmarks/fidelity.toml --stop-after-s 200
"""


@app.command(epilog=EXAMPLES)
def main(
    grid: Annotated[Path | None, typer.Option(help="The runs to make, in TOML (see benchmarks/fidelity.toml).")] = None,
    out: Annotated[
        Path,
        typer.Option(help="Folder of the live runs and tables; whole runs in it are kept.", callback=folder_to_write),
    ] = Path("results/validate"),
    docs: Annotated[Path | None, typer.Option(help="Markdown page to write too.", callback=file_to_write)] = None,
    trust: Trust = False,
    stop_after_s: Annotated[
        float,
        typer.Option(
            help="Start no live run after this many seconds, and simulate nothing; the next time goes on from there."
        ),
    ] = float("inf"),
    limit_s: Annotated[float, typer.Option(help="A live run is ended after this many seconds.")] = 600.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid of policies, buffers, links and machines live on this host, and simulate each run's own trace.

    Cost models are fitted on other configurations than the one that they predict. A live run that is there already is
    not made again; a run that fails is named and left out. Writes runs.parquet, pairs.parquet, configurations.parquet,
    settings.parquet and fidelity.md. Exit code 1 where counts of any minibatch differ, or a run failed.
    """
    import time
    from datetime import date

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from traces.capture.options import require_distdgl

    if grid is None:
        raise InputError("--grid is missing: a TOML file, such as benchmarks/fidelity.toml")
    require_distdgl()
    from replay.fidelity import markdown
    from replay.grid import read_grid, runs_of
    from replay.validation import finished, predict, run_planned, summarise
    from traces.cluster.errors import ClusterError

    planned = read_grid(grid, trust)
    runs = runs_of(planned)
    begun, failed = time.monotonic(), []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with sigterm_as_exception(), Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("live runs", total=len(runs))
        for run in runs:
            if not finished(out / run.folder):
                if time.monotonic() - begun > stop_after_s:
                    progress.stop()
                    left = sum(not finished(out / one.folder) for one in runs)
                    console(quiet or json).print(
                        f"{left} of {len(runs)} live runs are left; the same command goes on with them"
                    )
                    return
                progress.update(task, description=run.folder)
                try:
                    run_planned(run, out / run.folder, limit_s)
                except ClusterError as error:
                    failed.append(run.folder)
                    progress.console.print(f"error: {run.folder}: {error}", markup=False)
            progress.advance(task)
        done = [run for run in runs if finished(out / run.folder)]
        progress.update(task, description="simulating", total=len(done), completed=0)
        rows, pairs = predict(done, out, lambda: progress.advance(task), trust)
    tables = summarise(rows, pairs)
    written = {"runs": rows, "pairs": pairs} | {name: tables[name] for name in ("configurations", "settings")}
    for name, table in written.items():
        write_table(table, out / f"{name}.parquet")
    command = command_line("replay.validate")
    page = markdown(tables, planned.note, command, f" on {date.today()}")
    for path in filter(None, [out / "fidelity.md", docs]):
        with atomic_write(path) as partial:
            partial.write_text(page)
    if json:
        print_json({"folder": out, "live_runs": len(done), "failed": failed, "overall": tables["overall"].to_dicts()})
    console(quiet or json).print(page.partition("## Configurations")[0], markup=False)
    console(quiet or json).print(f"{len(done)} of {len(runs)} live runs; tables in {out}")
    if failed or tables["overall"]["different_minibatches"][0]:
        sys.exit(1)


if __name__ == "__main__":
    run_command(app)
