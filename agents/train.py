"""`python -m agents.train`: classifiers out of judged decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from traces.errors import run_command
from traces.output import file_to_write
from traces.terminal import Json, Quiet, console, print_json

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.judge --trace traces/debian.parquet --agent random:0.5 --window 4 --out results/judged

python -m agents.train --judged results/judged/judged.parquet --model xgboost --out results/xgboost.json

python -m sim.run --trace traces/papers100m.parquet --agent classifier:results/xgboost.json --window 4
"""


@app.command(epilog=EXAMPLES)
def main(
    judged: Annotated[list[Path], typer.Option(help="Judged decisions, from python -m sim.judge; may be repeated.")],
    out: Annotated[Path, typer.Option(help="The classifier's file, JSON.", callback=file_to_write)],
    model: Annotated[
        Literal["logistic", "forest", "xgboost", "svm", "mlp", "tabnet"], typer.Option(help="What to train.")
    ] = "logistic",
    label: Annotated[
        Literal["better", "proxy"],
        typer.Option(help="The branch that was better in the simulator, or the paper's proxy for it."),
    ] = "better",
    test: Annotated[list[Path] | None, typer.Option(help="Judged decisions of another trace, to test on.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split and of training.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier that says whether to replace.

    Whole runs are held out, since rows of one run resemble each other. Features are scaled by the training part alone.
    Prints the accuracy on the runs held out, and on those of --test.
    """
    from rich.table import Table

    from agents.classifiers.file import save
    from agents.classifiers.training import accuracy, read, split, train

    data = read(judged)
    kept, held_out = split(data, seed)
    classifier = train(kept, model, label, seed, [path.name for path in judged])
    save(classifier, out)
    table = Table("decisions of", "runs", "rows", "accuracy", "balanced", "replace is right", caption=f"label: {label}")
    parts = {"training": kept, "held-out runs": held_out} | ({"--test": read(test)} if test else {})
    rows = []
    for name, part in parts.items():
        plain, balanced, share = accuracy(classifier, part)
        runs = part["run"].n_unique()
        table.add_row(name, str(runs), f"{len(part):,}", f"{plain:.1%}", f"{balanced:.1%}", f"{share:.1%}")
        rows.append(
            {"decisions_of": name, "runs": runs, "rows": len(part), "accuracy": plain, "balanced_accuracy": balanced}
            | {"replace_is_right_share": share}
        )
    if json:
        print_json({"label": label, "file": out, "rows": rows})
    screen = console(quiet or json)
    screen.print(table)
    screen.print(f"accuracies are against the better branch, whatever the label; written to {out}")


if __name__ == "__main__":
    run_command(app)
