"""The winner of an offline search, live against its rivals, and how far predictions are off: docs/validation/winner.md.

    python -m benchmarks.winner

1. Captures `none` and `pipeline` live.
2. Simulates `pipeline` at many link rates: at the one of `--link` it must be features that take half of the epoch, or
   more.
3. Simulates hundreds of configurations, and chooses the fastest, and its rivals at the same buffer size: every:N at its
   best N on the score buffer, and the public Rudder rule under the best of its published settings.
4. Runs those and the captured policies live, repeat by repeat.
5. Writes the page.

What is there in --out is not made again; remove `rates.parquet` and `sweep.parquet` to simulate anew, and `chosen.json`
to choose anew what runs live: only what was not chosen before is then run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.winner_choice import LARGEST, RATES, WAITING, Captures, choose, sweep, waiting
from benchmarks.winner_report import write_page
from replay.grid import Block, Planned, PolicyChoice
from replay.validation import finished, run_planned
from traces.cores import usable_cores
from traces.errors import InputError, run_command, sigterm_as_exception
from traces.output import atomic_write, file_to_write, folder_to_write, write_table
from traces.terminal import command_line

app = typer.Typer(add_completion=False)

CAPTURE = 9
"""The number of the repeat that is captured: a seed that no other run has."""

PLAIN = {agent: PolicyChoice(agent=agent) for agent in ("none", "pipeline")}
AT_HAND = PolicyChoice(agent="never", cache="compulsory", universe="remote")
"""Every row is fetched once: what `pipeline` takes when features are at hand."""


@app.command(help=__doc__)
def main(
    graph: Annotated[Path, typer.Option(help="Folder that `python -m traces.graphs` made.")] = Path("data/linux"),
    machines: Annotated[int, typer.Option(help="Machines.")] = 4,
    link: Annotated[str, typer.Option(help=f"Rate of each machine's link: one of {', '.join(RATES)}.")] = "50mbit",
    batch: Annotated[int, typer.Option(help="Seeds a minibatch a trainer.")] = 2000,
    epochs: Annotated[int, typer.Option(min=2, help="Epochs of every live run; the first is left out.")] = 4,
    repeats: Annotated[int, typer.Option(help="Live runs of every configuration.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder of the runs and tables.", callback=folder_to_write)] = Path(
        "results/winner"
    ),
    docs: Annotated[
        Path | None, typer.Option(help="Markdown page to write; its figure lies beside it.", callback=file_to_write)
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = usable_cores(),
    stop_after_s: Annotated[float, typer.Option(help="After a live run, stop when so many seconds are over.")] = float(
        "inf"
    ),
    limit_s: Annotated[float, typer.Option(help="A live run is ended after this many seconds.")] = 600.0,
) -> None:
    if link not in RATES:
        raise InputError(f"--link {link}: choose one of {', '.join(RATES)}")
    begun = time.monotonic()
    block = Block(
        graph=graph, machines=(machines,), links=(link,), policies=(AT_HAND,), batch=batch, epochs=epochs,
        repeats=repeats,
    )  # fmt: skip

    def planned(policy: PolicyChoice, repeat: int) -> Planned:
        return Planned(block=block, machines=machines, link=link, policy=policy, repeat=repeat)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with sigterm_as_exception(), Progress(*columns, console=Console(stderr=True)) as progress:

        def go_on() -> None:
            if time.monotonic() - begun > stop_after_s:
                progress.stop()
                print("something is left to do; the same command goes on with it")
                sys.exit(0)

        def live(runs: list[Planned]) -> None:
            left = [run for run in runs if not finished(out / run.folder)]
            task = progress.add_task("live runs", total=len(left))
            for run in left:
                go_on()
                progress.update(task, description=run.folder)
                run_planned(run, out / run.folder, limit_s)
                progress.advance(task)
            if left:
                go_on()

        captured = [planned(choice, CAPTURE) for choice in PLAIN.values()]
        live(captured)
        captures = Captures(**{run.policy.agent: out / run.folder for run in captured})
        rates = _kept(out / "rates.parquet", lambda: _waiting(captures, progress))
        enough = rates.filter(pl.col("features_share") >= WAITING)["link"].to_list()
        if link not in enough:
            where = f"choose one of {', '.join(enough)}" if enough else "no rate is slow enough"
            raise InputError(f"--link {link}: features take less than half of the epoch there; {where}")
        table = _kept(out / "sweep.parquet", lambda: _sweep(captures, workers, progress))
        chosen = _chosen(out, table, captures)
        distinct = list(dict.fromkeys(choice for of_size in chosen.values() for choice in of_size.values()))
        runs = [planned(choice, repeat) for repeat in range(repeats) for choice in distinct]
        live([*runs, planned(AT_HAND, 0)])
    command = command_line("benchmarks.winner")
    page = write_page(
        {
            largest: {role: [run for run in runs if run.policy == choice] for role, choice in of_size.items()}
            for largest, of_size in chosen.items()
        },
        planned(AT_HAND, 0), captures, rates, table, out, docs or out / "winner.md", command, f"{date.today()}",
    )  # fmt: skip
    print(page)


def _kept(path: Path, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """A table out of its file, which is made where there is none."""
    if not path.exists():
        write_table(make(), path)
    return pl.read_parquet(path)


def _waiting(captures: Captures, progress: Progress) -> pl.DataFrame:
    task = progress.add_task("link rates", total=len(RATES))
    return waiting(captures, lambda: progress.advance(task))


def _sweep(captures: Captures, workers: int, progress: Progress) -> pl.DataFrame:
    task = progress.add_task("configurations", total=0)
    return sweep(captures, workers, lambda total, done: progress.update(task, total=total, completed=done))


def _chosen(out: Path, table: pl.DataFrame, captures: Captures) -> dict[str, dict[str, PolicyChoice]]:
    """By largest buffer, what was chosen when the live runs began; a later search doesn't change it."""
    path = out / "chosen.json"
    found = {}
    kept = json.loads(path.read_text()) if path.exists() else {}
    for largest in LARGEST:
        if largest not in kept:
            kept[largest] = {role: one.model_dump() for role, one in choose(table, largest, captures).items()}
        found[largest] = PLAIN | {role: PolicyChoice(**one) for role, one in kept[largest].items()}
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(kept, indent=2) + "\n")
    return found


if __name__ == "__main__":
    run_command(app)
