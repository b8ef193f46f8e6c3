"""`python -m sim.report DIR`: which configuration of a sweep won, and what it cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traces.errors import run_command

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.report results/sweep --top 10

python -m sim.report results/sweep --where buffer=25% --where "hit_rate_remote>0.5" --group link_bytes_per_s

python -m sim.report results/sweep --pareto --markdown front.md

python -m sim.report results/sweep --by fetched_rows --csv board.csv
"""

SHOWN = ("cache", "agent", "buffer", "universe", "init", "window", "mode", "link_bytes_per_s")
RESULTS = ("seeds", "epoch_s_mean", "vs_none", "hit_rate_remote", "fetched_over_min", "buffer_bytes")


@app.command(epilog=EXAMPLES)
def main(
    folder: Annotated[Path, typer.Argument(help="The folder of a sweep.")],
    where: Annotated[
        list[str] | None, typer.Option(help="Only runs that meet a condition: agent=every:16, window>1. Repeat it.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option(help="The best of every value of a column. Repeat it.")] = None,
    by: Annotated[str, typer.Option(help="What to rank by, the smallest first.")] = "epoch_s_mean",
    top: Annotated[int, typer.Option(min=1, help="Rows to show (of each group).")] = 20,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Only what no other betters in --by and in buffer bytes.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write all columns of what is shown to a CSV file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write what is shown as a Markdown table.")] = None,
) -> None:
    """Print a sweep's leaderboard: a row a configuration, means over its seeds with 95 % confidence intervals.

    Notebooks get the same as data frames from `sim.leaderboard`.
    """
    from rich.console import Console

    from sim import leaderboard

    table = leaderboard.where(leaderboard.read(folder), where or [])
    board = leaderboard.leaderboard(table, by)
    board = leaderboard.pareto(board, by) if pareto else board
    board = leaderboard.best_of(board, group or [], top)
    notices = sorted(set(table["notice"].drop_nulls()) - {""}) if "notice" in table.columns else []
    console = Console()
    for notice in notices:
        console.print(f"[bold yellow]{notice}[/]")
    lines = _lines(board, by, group or []) if board.height else []
    _print(console, lines, f"{folder}: {board.height} of {table.height} runs")
    failed = table.filter(table["error"].is_not_null())
    if failed.height:
        console.print(f"{failed.height} runs failed, the first with: {failed['error'][0]}", markup=False)
    if csv is not None:
        csv.write_text(
            "".join(f"# {notice}\n" for notice in notices) + board.drop("congestion", strict=False).write_csv()
        )
    if markdown is not None:
        markdown.write_text("".join(f"**{notice}**\n\n" for notice in notices) + _markdown(lines))


def _lines(board: pl.DataFrame, by: str, groups: list[str]) -> list[dict[str, str]]:
    """What is shown of a leaderboard, as text: columns in which all rows agree are left out."""
    from sim.sweep.grid import UNBUFFERED

    varied = [name for name in ("trace", *SHOWN) if board[name].n_unique() > 1]
    named = dict.fromkeys([*groups, *(varied or ["agent"]), *RESULTS, by])
    rows = []
    for row in board.iter_rows(named=True):
        shown = {name: _text(name, row[name]) for name in named}
        if not row["buffer_rows"]:
            shown |= dict.fromkeys((name for name in UNBUFFERED if name in shown), "")
        elif row["bound"] and "cache" in shown:
            shown["cache"] += " (bound)"
        if (interval := row[f"{by}_interval"]) is not None:
            shown[by] += f" ± {_text(by, interval)}"
        rows.append(shown)
    return rows


def _text(name: str, value: Any) -> str:
    if value is None:
        return "as captured" if name == "link_bytes_per_s" else ""
    if name == "link_bytes_per_s":
        return f"{value * 8 / 1e6:g} Mbit/s"
    if name.startswith("vs_"):
        return f"{value:+.1%}"
    if "rate" in name or name.endswith("share"):
        return f"{value:.1%}"
    if name.endswith("_bytes"):
        return f"{value / 1e6:,.1f} MB"
    if name.endswith("_rows"):
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(console: Any, lines: list[dict[str, str]], title: str) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in lines[0] if lines else ():
        table.add_column(name, justify="left" if name in SHOWN else "right", overflow="fold")
    for line in lines:
        table.add_row(*line.values())
    console.print(table)


def _markdown(lines: list[dict[str, str]]) -> str:
    if not lines:
        return "no runs\n"
    rows = [list(lines[0]), ["---"] * len(lines[0]), *(list(line.values()) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    run_command(app)
