"""`python -m traces.info FILE`: a trace's provenance and shape, and how much its accesses repeat."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traces.errors import run_command
from traces.terminal import Json, console, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from traces.reader import Trace

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True)
class TrainerShape:
    """One trainer of a trace in numbers; rows are rows of remote features.

    `reuse_share` is the part of the remote rows that the same trainer had asked for before: the hit rate of an
    infinite buffer. `median_reuse_minibatches` is the median number of minibatches until a row is asked for again.
    """

    rank: int
    minibatches: int
    rows_a_minibatch: float
    remote_share: float
    halo_share: float
    halo_nodes: int
    distinct_rows: int
    reuse_share: float
    median_reuse_minibatches: float
    step_s: float
    fetch_s: float


def shape(trace: Trace, rank: int) -> TrainerShape:
    """Count what trainer `rank` asked for, an epoch in memory at a time."""
    import numpy as np

    nodes = trace.nodes(trace.header.partition_of(rank))
    halo = np.zeros(trace.header.partition.offsets[-1], np.bool_)
    halo[nodes.node_ids[nodes.local_degrees > 0]] = True
    last = np.full(len(halo), -1, np.int64)
    distances = np.zeros(trace.minibatches + 1, np.int64)
    rows = in_halo = inputs = minibatch = 0
    seconds = np.zeros(2)
    for epoch in trace.epochs(rank):
        rows += len(epoch.ids)
        inputs += int(epoch.columns["input_nodes"].sum())
        in_halo += int(np.count_nonzero(halo[epoch.ids]))
        seconds += [epoch.columns["step_s"].sum(), epoch.columns["fetch_s"].sum()]
        for start, end in zip(epoch.offsets[:-1], epoch.offsets[1:], strict=True):
            ids = epoch.ids[start:end]
            again = ids[last[ids] >= 0]
            distances += np.bincount(minibatch - last[again], minlength=len(distances))
            last[ids] = minibatch
            minibatch += 1
    reused = int(distances.sum())
    median = int(np.searchsorted(np.cumsum(distances), (reused + 1) // 2)) if reused else float("nan")
    return TrainerShape(
        rank=rank,
        minibatches=minibatch,
        rows_a_minibatch=rows / minibatch,
        remote_share=rows / max(inputs, 1),
        halo_share=in_halo / max(rows, 1),
        halo_nodes=int(np.count_nonzero(halo)),
        distinct_rows=int(np.count_nonzero(last >= 0)),
        reuse_share=reused / max(rows, 1),
        median_reuse_minibatches=median,
        step_s=float(seconds[0]) / minibatch,
        fetch_s=float(seconds[1]) / minibatch,
    )


def show(trace: Trace, console: Console) -> None:
    """Print provenance, shape and a line a trainer."""
    from rich.table import Table

    header = trace.header
    if header.notice:
        console.print(f"[bold yellow]{header.notice}[/]")
    facts = Table(title=str(trace.path), show_header=False, box=None, title_justify="left")
    graph, cluster, training = header.graph, header.cluster, header.training
    rate = f"{cluster.link_bytes_per_s * 8 / 1e6:g} Mbit/s" if cluster.link_bytes_per_s else "not shaped"
    facts.add_row("graph", f"{graph.name} ({graph.kind}), {graph.nodes:,} nodes, {graph.edges:,} edges")
    facts.add_row("checksum", graph.checksum)
    facts.add_row("features", f"{graph.feature_dim} x {graph.feature_dtype}, {graph.feature_bytes} bytes a row")
    cut = "" if header.partition.edge_cut is None else f", edge cut {header.partition.edge_cut:,}"
    facts.add_row("partitions", f"{header.partition.parts} ({header.partition.method}{cut})")
    form = f"{cluster.form}, {cluster.cores} cores"
    facts.add_row("cluster", f"{len(cluster.hosts)} hosts ({form}), {header.trainers} trainers, links {rate}")
    model = f"{training.model} {training.hidden}, fanout {','.join(map(str, training.fanout))}"
    options = f"batch {training.batch_size}, seed {training.seed}, policy {header.policy}, on {training.device}"
    facts.add_row("training", f"{model}, {options}")
    facts.add_row("run", f"{header.epochs} epochs of {header.minibatches_per_epoch} minibatches a trainer")
    if cost := header.overhead:
        error = f"± {cost.step_share_standard_error:.2%} over {cost.pairs} pairs"
        facts.add_row(
            "recording cost", f"{cost.step_share:+.2%} of the step ({error}), {cost.recorder_share:.3%} inside it"
        )
    versions = ", ".join(f"{name} {number}" for name, number in header.versions.items())
    facts.add_row(*(("sampled offline", versions) if header.sampled else ("captured", f"{header.date}, {versions}")))
    facts.add_row("command", header.command)
    console.print(facts)
    table = Table(title="a minibatch of each trainer (means)", title_justify="left")
    for name in ("rank", "remote rows", "of inputs", "in halo", "halo nodes", "distinct", "asked before", "after"):
        table.add_column(name, justify="right")
    table.add_column("fetch", justify="right")
    table.add_column("step", justify="right")
    for rank in range(header.trainers):
        one = shape(trace, rank)
        table.add_row(
            str(rank),
            f"{one.rows_a_minibatch:,.0f}",
            f"{one.remote_share:.1%}",
            f"{one.halo_share:.1%}",
            f"{one.halo_nodes:,}",
            f"{one.distinct_rows:,}",
            f"{one.reuse_share:.1%}",
            f"{one.median_reuse_minibatches:g} minibatches",
            *("" if math.isnan(seconds) else f"{seconds * 1e3:.1f} ms" for seconds in (one.fetch_s, one.step_s)),
        )
    console.print(table)


def report(trace: Trace, *, json: bool, quiet: bool) -> None:
    """Print what `show` does, or the same as JSON, or nothing."""
    if json:
        trainers = [asdict(shape(trace, rank)) for rank in range(trace.header.trainers)]
        print_json({"notice": trace.header.notice, "header": trace.header.model_dump(), "rows": trainers})
    elif not quiet:
        show(trace, console())


@app.command(epilog="[bold]Example[/bold]\n\npython -m traces.info traces/debian.parquet")
def main(file: Annotated[Path, typer.Argument(help="A trace.")], json: Json = False) -> None:
    """Print a trace's provenance, its shape, and a line a trainer: remote share, halo share, reuse."""
    from traces.reader import Trace

    report(Trace(file), json=json, quiet=False)


if __name__ == "__main__":
    run_command(app)
