"""Epochs of captured runs, predicted from one other capture and runs that are sampled offline.

    python -m benchmarks.unseen --graph data/debian --like base.parquet batch2000.parquet machines2.parquet

For every capture a run of the same settings is sampled, another seed, and timed by --like alone. Beside it: the same
with the minibatches that were captured, which leaves out what sampling adds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sim import Twin
from sim.runs.unseen import given_cost
from traces.cores import usable_cores
from traces.errors import run_command
from traces.reader import Trace
from traces.sampling.sources import from_graph
from traces.sampling.write import Settings, sample

app = typer.Typer(add_completion=False)


@app.command(help=__doc__)
def main(
    captures: Annotated[list[Path], typer.Argument(help="Captured runs of other settings.")],
    graph: Annotated[Path, typer.Option(help="Folder that traces.graphs made.")],
    like: Annotated[Path, typer.Option(help="The captured run that says what things cost.")],
    folder: Annotated[Path, typer.Option(help="Where sampled runs are put.")] = Path("results/unseen"),
) -> None:
    given, errors = given_cost(None, like), []
    print("| machines | trainers each | fanout | batch | measured epoch, s | predicted | error | ids captured |")
    print("|---|---|---|---|---|---|---|---|")
    for path in captures:
        header = Trace(path).header
        training, trainers = header.training, header.cluster.trainers_per_host
        settings = Settings(
            fanout=training.fanout, batch_size=training.batch_size, trainers_per_host=trainers, epochs=header.epochs,
            seed=training.seed + 100,
        )  # fmt: skip
        out = folder / path.name
        sample(from_graph(graph, header.partition.parts, None, None), settings, out, usable_cores())
        captured = Twin.open(path, cost=given)
        measured_s = float(captured.measured_epochs["epoch_s"][1:].mean())
        sampled = Twin.open(out, cost=given)
        seconds = [float(one.simulate("none").epochs["epoch_s"][1:].mean()) for one in (sampled, captured)]
        error, of_captured = (one / measured_s - 1 for one in seconds)
        errors.append(abs(error))
        fanout = ",".join(map(str, training.fanout))
        size = f"| {header.partition.parts} | {trainers} | {fanout} | {training.batch_size} |"
        print(f"{size} {measured_s:.3f} | {seconds[0]:.3f} | {error:+.1%} | {of_captured:+.1%} |")
        if sampled.extrapolated:
            print(f"<!-- {sampled.extrapolated} -->")
    print(f"\nMean absolute error {np.mean(errors):.1%}, worst {max(errors):.1%}.")


if __name__ == "__main__":
    run_command(app)
