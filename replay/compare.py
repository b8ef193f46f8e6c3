"""`python -m replay.compare RUN`: a live run against the simulation of its own trace."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.runs.options import Trust
from traces.errors import InputError, run_command
from traces.terminal import Json, Quiet, console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from replay.comparison import Comparison

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m replay.compare results/live-20260101-120000

python -m replay.compare results/live-20260101-120000 --fitted-on traces/debian.parquet --within 5
"""


@app.command(epilog=EXAMPLES)
def main(
    run: Annotated[Path, typer.Argument(help="Folder that replay.live wrote.")],
    fitted_on: Annotated[
        Path | None,
        typer.Option(
            help="Trace of another run of the same cluster, on which the cost model is fitted; best is one that "
            "prepares as many minibatches ahead (pipeline, or the trace.parquet of a live run).",
            show_default="no epoch times",
        ),
    ] = None,
    trust: Trust = False,
    within: Annotated[float, typer.Option(help="Allowed error of the mean epoch time, in percent.")] = 8.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Simulate a live run's own trace under its own policy, and compare.

    Hits, replaced and fetched rows must be equal in every minibatch. The recorded decisions are used for a policy that
    looks at times or takes time to decide. With --fitted-on also epoch times are simulated, never with a cost model
    fitted on the run itself. Exit code 1 where counts differ, or the epoch time by more than --within.
    """
    from replay.comparison import compare, fit_trace
    from replay.launch import TRACE

    if fitted_on is not None and fitted_on.resolve() == (run / TRACE).resolve():
        raise InputError(f"--fitted-on {fitted_on}: is the run that is to be predicted; give another")
    comparison = compare(run, None if fitted_on is None else fit_trace(fitted_on, trust).cost, trust)
    if json:
        found = asdict(comparison)
        print_json(found | {"epoch_error_share": comparison.epoch_error_share})
    _print(console(quiet or json), comparison)
    error = comparison.epoch_error_share
    if comparison.differences or (error is not None and abs(error) > within / 100):
        sys.exit(1)


def _print(screen: Console, comparison: Comparison) -> None:
    from rich.table import Table

    table = Table("", "live", "simulated", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("hit rows", f"{comparison.live_hits:,}", f"{comparison.simulated_hits:,}")
    table.add_row("fetched rows", f"{comparison.live_fetched_rows:,}", f"{comparison.simulated_fetched_rows:,}")
    simulated_s = comparison.simulated_epoch_s
    for epoch, live_s in enumerate(comparison.live_epoch_s):
        simulated = "" if simulated_s is None else f"{simulated_s[epoch]:.3f} s"
        table.add_row(f"epoch {epoch}", f"{live_s:.3f} s", simulated)
    screen.print(table)
    how = "decided again" if comparison.decided_again else "with its recorded decisions"
    if comparison.differences:
        different = len({(one.rank, one.epoch, one.minibatch) for one in comparison.differences})
        screen.print(
            f"[bold red]{different:,} of {comparison.minibatches:,} minibatches differ[/], policy {how}; first:"
        )
        for one in comparison.differences[:5]:
            screen.print(f"  {one}")
    else:
        screen.print(f"equal in all {comparison.minibatches:,} minibatches, policy {how}")
    if comparison.epoch_error_share is not None:
        fitted = f"cost model fitted on {comparison.fitted_on}"
        screen.print(f"mean epoch time simulated {comparison.epoch_error_share:+.1%}; {fitted}")


if __name__ == "__main__":
    run_command(app)
