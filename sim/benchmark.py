"""`python -m sim.benchmark`: one table of policies and caches over all shipped traces, buffers and scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from traces.errors import run_command
from traces.output import atomic_write, file_to_write, folder_to_write
from traces.terminal import Json, Quiet, console, print_json, progress

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.benchmark mine.py

python -m sim.benchmark mine.py:Mine --over frequency

python -m sim.benchmark --page docs/benchmark.md
"""


@app.command(epilog=EXAMPLES)
def main(
    candidate: Annotated[
        str | None, typer.Argument(help="A policy or a ranking function in a file: FILE.py or FILE.py:CLASS.")
    ] = None,
    over: Annotated[str, typer.Option(help="The buffer that a policy in a file decides for.")] = "score",
    trace: Annotated[
        list[Path] | None, typer.Option(help="A trace; may be repeated.", show_default="those that are shipped")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder with a record of all that was ever run.", callback=folder_to_write)
    ] = Path("results/benchmark"),
    page: Annotated[
        Path | None, typer.Option(help="Also write the ranking of all records as Markdown.", callback=file_to_write)
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one a core")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank a policy beside all of ours: how many times as fast epochs are as DistDGL's own, with intervals.

    A file's code runs in processes that can do nothing but compute (docs/evolving.md). What has a record isn't run
    again, the same file under any name included. Remove the folder after a change of the simulator.
    """
    from rich.table import Table

    from sim.verifier.candidate import Candidate, Subject
    from sim.verifier.cells import SHIPPED
    from sim.verifier.entries import entries
    from sim.verifier.page import COLUMNS, cells_of
    from sim.verifier.page import page as written
    from sim.verifier.records import Records
    from sim.verifier.standings import standings
    from traces.cores import usable_cores
    from traces.reader import Trace

    paths = tuple(trace or SHIPPED)
    notices = [f"{path.stem}: {notice}" for path in paths if (notice := Trace(path).header.notice)]
    subjects: list[Subject] = [*([Candidate(candidate, over)] if candidate else []), *entries()]
    records = Records(out, paths)
    with progress(quiet=quiet or json) as bar:
        task = bar.add_task("running", total=sum(not records.place(one).is_file() for one in subjects))
        for _ in records.run(subjects, workers or usable_cores()):
            bar.advance(task)
    every = records.read()
    found, refused = standings(every), [one for one in every if one.refused]
    if page is not None:
        with atomic_write(page) as partial:
            partial.write_text(written(found, refused, notices))
    names = [path.stem for path in paths]
    titles = [*COLUMNS, *names]
    rows = [cells_of(one, names) for one in found]
    if json:
        print_json({"notices": notices, "titles": titles, "rows": rows, "refused": [one.refused for one in refused]})
        return
    shown = console(quiet)
    for notice in notices:
        shown.print(f"[bold yellow]{notice}[/]")
    table = Table(*titles, box=None, pad_edge=False)
    mine = Candidate(candidate, over).sha256[:8] if candidate else ""
    for row in rows:
        table.add_row(*row, style="bold" if mine and f"({mine})" in row[1] else "")
    shown.print(table)
    for one in refused:
        shown.print(f"refused: {one.label} ({one.sha256[:8]}): {one.refused}", markup=False)


if __name__ == "__main__":
    run_command(app)
