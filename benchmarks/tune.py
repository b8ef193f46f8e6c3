"""What `sim.tune` finds, against the best of all that `benchmarks.winner` simulates: `python -m benchmarks.tune`.

Simulates those configurations over a trace, at its captured link rate. Then searches with the defaults of sim.tune,
which end at the same largest buffer. Both go on where they stopped.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import optuna
import polars as pl
import typer
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.winner_choice import BUFFERS, GRIDS
from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, expand
from sim.sweeps.pool import run_local
from sim.sweeps.store import Store
from traces.cores import usable_cores
from traces.errors import run_command

app = typer.Typer(add_completion=False)

NEAR = 1.01
"""What counts as the best: an epoch that is 1 % longer at most."""


@app.command(help=__doc__)
def main(
    trace: Annotated[Path, typer.Option(help="A trace.")] = Path("traces/papers100m.parquet"),
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the search.")] = Path("results/benchmark-tune"),
    workers: Annotated[int, typer.Option(help="Processes that simulate.")] = usable_cores(),
) -> None:
    folder = out / trace.stem
    table = simulated(trace, folder / "winner", workers)
    best = table.sort("epoch_s_mean").row(0, named=True)
    print(f"{trace}: of {table.height} configurations, the best is {said(best)}")
    command = [sys.executable, "-m", "sim.tune", "--trace", str(trace), "--out", str(folder / "tune"), "--quiet"]
    subprocess.run(command, check=True)
    trials = trials_of(folder / "tune")
    near = [trial.number for trial in trials if trial.values[0] <= NEAR * best["epoch_s_mean"]]
    found = min(trials, key=lambda trial: trial.values[0])
    row = found.user_attrs["config"] | {"epoch_s_mean": found.values[0]}
    print(f"sim.tune finds {said(row)}: {found.values[0] / best['epoch_s_mean'] - 1:+.2%}")
    print(f"within {NEAR - 1:.0%} of the best after {near[0] + 1 if near else 'no'} trials")


def simulated(trace: Path, folder: Path, workers: int) -> pl.DataFrame:
    """All configurations of `benchmarks.winner` that could be simulated."""
    plans = [expand(Grid(trace=(str(trace),), buffers=BUFFERS, **grid)) for grid in GRIDS]
    configs = {run: config for plan in plans for run, config in plan.configs.items()}
    [(sha256, path)] = plans[0].files.items()
    store = Store(folder)
    done = set(table["run"]) if (table := store.read()).width else set()
    left = batches([config for run, config in configs.items() if run not in done])
    with store.writing():
        for rows in run_local(left, lambda: {sha256: Twin.open(path, ("halo", "remote"))}, workers):
            store.append(rows)
        store.compact()
    return store.read().filter(pl.col("error").is_null(), pl.col("run").is_in(list(configs)))


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """All trials of a search that came to their end."""
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "study.log")))
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage).get_trials(states=(TrialState.COMPLETE,))


def said(row: dict[str, object]) -> str:
    """A configuration in a few words."""
    return "{cache} {agent} {buffer} {universe} {init}, {epoch_s_mean:.4f} s".format(**row)


if __name__ == "__main__":
    run_command(app)
