"""`python -m sim.report DIR`: the results of a sweep, a run or a judge, as a table or an HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traces.errors import InputError, run_command
from traces.output import atomic_write, file_to_write, folder_to_write
from traces.terminal import Json, Quiet, console, print_json

if TYPE_CHECKING:
    from sim.reports.page.content import Page

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.report results/sweep --top 10

python -m sim.report results/sweep --where buffer=25% --where "hit_rate_remote>0.5" --group link_bytes_per_s

python -m sim.report results/sweep --pareto --markdown front.md

python -m sim.report results/sweep --html sweep.html --figures pictures

python -m sim.report results/first_run --html run.html
"""

Conditions = list[str]
TEXT_COLUMNS = ("trace", "cache", "agent", "policy", "buffer", "universe", "init", "mode")


@app.command(epilog=EXAMPLES)
def main(
    folder: Annotated[Path, typer.Argument(help="A folder that sim.sweep, sim.run or sim.judge wrote.")],
    html: Annotated[
        Path | None,
        typer.Option(help="Write a self-contained page: tables, figures, decisions.", callback=file_to_write),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Write the page's figures into a folder, as PNGs.", callback=folder_to_write)
    ] = None,
    where: Annotated[
        Conditions | None,
        typer.Option(help="Sweeps: only runs that meet a condition: agent=every:16, window>1. Repeat it."),
    ] = None,
    group: Annotated[
        Conditions | None, typer.Option(help="Sweeps: the best of every value of a column. Repeat it.")
    ] = None,
    by: Annotated[str, typer.Option(help="Sweeps: what to rank by, the smallest first.")] = "epoch_s_mean",
    top: Annotated[int, typer.Option(min=1, help="Sweeps: rows to show (of each group).")] = 20,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Sweeps: only the Pareto front of --by and buffer bytes.")
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option(help="Sweeps: write all columns of the rows shown to a CSV file.", callback=file_to_write),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Sweeps: write the rows shown as a Markdown table.", callback=file_to_write)
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print results: one row for each configuration of a sweep, policy of a run, or seed of a judged policy.

    Rows of a sweep are means over its seeds with 95 % confidence intervals. --html writes it all as one page with
    figures, decisions and commands, which opens from disk. Notebooks get data frames from `sim.sweeps.leaderboard`.
    """
    page, out = None, html or folder / "page.html"
    if (folder / "judged.parquet").exists() or (folder / "summary.json").exists():
        if where or group or pareto or csv or markdown:
            raise InputError(f"{folder} is no sweep; leave out --where, --group, --pareto, --csv and --markdown")
        page = _one(folder, out, html is not None or figures is not None, json, quiet)
    else:
        from sim.reports.leaderboard_view import LeaderboardView

        view = LeaderboardView.open(folder, where=where or [], groups=group or [], by=by, top=top, pareto=pareto)
        if json:
            rows = view.selected.to_dicts()
            print_json({"notices": view.notices, "runs": view.runs, "failed": view.failed.height, "rows": rows})
        elif not quiet:
            lines = view.lines()
            _print(view.notices, [*lines[0]] if lines else [], [[*line.values()] for line in lines], view.title)
            if view.failed.height:
                print(f"{view.failed.height} runs failed, the first with: {view.failed['error'][0]}")
        if csv is not None:
            _write(csv, view.csv().encode())
        if markdown is not None:
            _write(markdown, view.markdown().encode())
        if html is not None or figures is not None:
            from sim.reports.page.sweep import page as page_of_sweep

            page = page_of_sweep(view, out)
    if page is not None:
        _write_page(page, html, figures, quiet or json)


def _one(folder: Path, out: Path, wanted: bool, json: bool, quiet: bool) -> Page | None:
    """Print the results of a run, simulated or live, or of a judge, and make its page where one is wanted."""
    if (folder / "judged.parquet").exists():
        from sim.reports.page.judged import Judged as Kind
    elif (folder / "trace.parquet").exists():
        from sim.reports.page.live import LiveRun as Kind  # type: ignore[assignment]
    else:
        from sim.reports.page.run import Run as Kind  # type: ignore[assignment]
    found = Kind.open(folder)
    if json:
        print_json({"notices": found.notices, "rows": found.rows})
    elif not quiet:
        table = found.table()
        _print(
            found.notices,
            [name for name, _ in table.headings],
            [[cell.text for cell in row] for row in table.rows],
            str(folder),
        )
    return found.page(out) if wanted else None


def _print(notices: list[str], names: list[str], rows: list[list[str]], title: str) -> None:
    from rich.table import Table

    screen = console()
    for notice in notices:
        screen.print(f"[bold yellow]{notice}[/]")
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="left" if name in TEXT_COLUMNS else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    screen.print(table)


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _write_page(page: Page, html: Path | None, figures: Path | None, quiet: bool) -> None:
    """Write a page and its figures."""
    from sim.reports.page.render import render

    files = {} if html is None else {html: render(page).encode()}
    pictures = [section.picture for section in page.sections if section.picture is not None]
    files |= {} if figures is None else {figures / f"{one.name}.png": one.png for one in pictures}
    for path, content in files.items():
        _write(path, content)
        if not quiet:
            print(f"{path}: {len(content) / 1e3:,.0f} kB")


if __name__ == "__main__":
    run_command(app)
