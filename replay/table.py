"""A table of a live run's epochs on the terminal, which grows as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from replay.decisions import count_decisions
from sim.runs.results import epoch_seconds
from traces.capture.recorder import LOSS

COLUMNS = ["input_nodes", "local_nodes", "hit_rows", "replacement_rows", "stall_s", "step_s", "start_s", LOSS]


@contextmanager
def epoch_table(console: Console, fragments: Path, epochs: int) -> Iterator[Callable[[int], None]]:
    """Show a table of the finished epochs in `fragments`. Yields a function to call with their number."""
    table = Table(box=None, pad_edge=False)
    for name in ("epoch", "time", "loss", "hits", "fetched rows", "stall", "step", "decisions"):
        table.add_column(name, justify="right", no_wrap=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console)
    task = progress.add_task("starting the cluster", total=epochs)

    def on_progress(finished: int) -> None:
        for epoch in range(table.row_count, finished):
            table.add_row(*epoch_row(fragments, epoch))
        progress.update(task, completed=finished, description="training and recording, epochs")

    with Live(Group(table, progress), console=console, refresh_per_second=4):
        yield on_progress


def epoch_row(fragments: Path, epoch: int) -> tuple[str, ...]:
    """The table's row of an epoch, over all trainers: mean losses and times, sums of rows and decisions."""
    tables = [pq.read_table(path, columns=COLUMNS) for path in sorted(fragments.glob(f"rank*-epoch{epoch}.parquet"))]
    values = {name: column.to_numpy() for name, column in zip(COLUMNS, pa.concat_tables(tables).columns, strict=True)}
    remote = int((values["input_nodes"] - values["local_nodes"]).sum())
    hits = int(values["hit_rows"].sum())
    start_s, step_s = (np.stack([table[name].to_numpy() for table in tables]) for name in ("start_s", "step_s"))
    return (
        str(epoch),
        f"{epoch_seconds(start_s, step_s, start_s.shape[1])[0]:.2f} s",
        f"{values[LOSS].mean():.4f}",
        f"{hits / max(remote, 1):.1%}",
        f"{remote - hits + int(values['replacement_rows'].sum()):,}",
        f"{values['stall_s'].mean() * 1e3:.1f} ms",
        f"{values['step_s'].mean() * 1e3:.1f} ms",
        str(count_decisions(fragments, epoch)),
    )
