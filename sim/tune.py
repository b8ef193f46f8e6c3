"""`python -m sim.tune`: search caches, gates and buffer sizes for the best trade of epoch time for memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traces.errors import InputError, run_command
from traces.output import atomic_write, folder_to_write
from traces.terminal import Json, Quiet, console, print_json, progress

if TYPE_CHECKING:
    import optuna

    from sim.config import RunConfig
    from sim.runs.twin import Twin

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.tune --trace traces/debian.parquet --trials 200

python -m sim.tune --trace traces/papers100m.parquet --caches "score lru" --agents "every never" --largest 10

python -m sim.run --trace traces/debian.parquet --policy results/tune/best.json
"""

EVERY = (1, 128)
RANGES = {"every": EVERY, "random": (0.01, 1.0), "threshold": (0.05, 0.95)}
"""Policies that are given by name alone get their parameter out of these."""

MARGIN = 0.1
"""A trial is given up when, over the first epochs, one with no larger buffer was faster by more than this share."""


@app.command(epilog=EXAMPLES)
def main(
    trace: Annotated[Path, typer.Option(help="A trace.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, those of earlier calls counted.")] = 100,
    caches: Annotated[str, typer.Option(help="Caches to choose from.")] = "score lru sieve s3fifo lfu",
    agents: Annotated[str, typer.Option(help="Policies to choose from; every, random, threshold are tuned.")] = (
        "never every random threshold"
    ),
    smallest: Annotated[float, typer.Option(min=0.01, help="Smallest buffer, in percent of the halo.")] = 1.0,
    largest: Annotated[float, typer.Option(max=100, help="Largest buffer, in percent of the halo.")] = 50.0,
    universes: Annotated[str, typer.Option(help="Universes to choose from.")] = "halo",
    link: Annotated[str | None, typer.Option(help="Rate of each host's link, such as 1gbit.  [as captured]")] = None,
    first_epochs: Annotated[int, typer.Option(min=1, help="Epochs after which a hopeless trial is given up.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    out: Annotated[
        Path, typer.Option(help="Folder of the study; the same command goes on with it.", callback=folder_to_write)
    ] = Path("results/tune"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search with optuna (extra `tune`) for short epochs and small buffers at once.

    Prints the Pareto front and writes OUT/best.json, the fastest of it, which sim.run --policy accepts, and
    OUT/front.csv. Several processes may work on the same OUT.
    """
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError:
        raise InputError("sim.tune needs optuna: pip install 'rudder-twin[tune]'") from None
    from functools import partial

    from agents.registry import resolve
    from sim.caches.registry import cache_class
    from sim.runs.twin import Twin, checksum
    from traces.cluster.link import parse_link

    if not smallest <= largest:
        raise InputError(f"--smallest {smallest:g} is above --largest {largest:g}")
    for name in agents.split():
        resolve(name if name not in RANGES else f"{name}:{RANGES[name][0]}")
    fixed: dict[str, Any] = {"trace": trace.name, "trace_sha256": checksum(trace)}
    fixed["link_bytes_per_s"] = parse_link(link) if link else None
    managed = {name: cache_class(name).managed for name in caches.split()}
    suggest_config = partial(
        suggest, managed=managed, agents=agents.split(), universes=universes.split(), fixed=fixed,
        shares=(smallest, largest),
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = JournalFileBackend(str(out / "study.log"))
    study = optuna.create_study(
        study_name=f"{trace.name} {fixed['trace_sha256'][:16]}",
        storage=optuna.storages.JournalStorage(backend),
        directions=["minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=seed),
        load_if_exists=True,
    )
    twin = Twin.open(trace, set(universes.split()))  # type: ignore[arg-type]
    first = twin.head(min(first_epochs, twin.header.epochs))
    if twin.header.notice:
        console(quiet or json).print(f"[bold yellow]{twin.header.notice}[/]")
    left = max(trials - len(study.trials), 0)
    with progress(quiet=quiet or json) as bar:
        task = bar.add_task("tuning", total=left)
        study.optimize(
            lambda trial: objective(trial, suggest_config(trial), first, twin),
            n_trials=left,
            callbacks=[lambda *_: bar.advance(task)],
            catch=(InputError,),
        )
    rows = _finish(study, out, console(quiet or json))
    if json:
        print_json({"notice": twin.header.notice, "rows": rows})


def suggest(
    trial: optuna.Trial,
    *,
    managed: dict[str, bool],
    agents: list[str],
    universes: list[str],
    shares: tuple[float, float],
    fixed: dict[str, Any],
) -> RunConfig:
    """The configuration of a trial. Only caches that ask a policy get one."""
    from sim.config import RunConfig

    cache = trial.suggest_categorical("cache", list(managed))
    agent = trial.suggest_categorical("agent", agents) if managed[cache] else "never"
    if agent == "every":
        agent = f"every:{trial.suggest_int('every', *EVERY, log=True)}"
    elif agent in RANGES:
        agent = f"{agent}:{trial.suggest_float(agent, *RANGES[agent]):.3g}"
    options: dict[str, Any] = {
        "buffer": f"{trial.suggest_float('buffer', *shares, log=True):.3g}%",
        "universe": trial.suggest_categorical("universe", universes),
        "init": trial.suggest_categorical("init", ["degree", "empty"]),
    }
    return RunConfig(cache=cache, agent=agent, **options, **fixed)


def objective(trial: optuna.Trial, config: RunConfig, first: Twin, twin: Twin) -> tuple[float, int]:
    """Mean epoch time and bytes of a trainer's buffer.

    The first epochs are simulated first: a trial that a finished one already beat clearly, with no larger buffer, is
    given up there (optuna's own pruners know one objective only).
    """
    import optuna

    begun = first.simulate(config, ahead=True).row
    trial.set_user_attr("config", config.model_dump(mode="json"))
    trial.set_user_attr("first_epoch_s", begun["epoch_s_mean"])
    for other in trial.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
        beaten = other.user_attrs["first_epoch_s"] * (1 + MARGIN) < begun["epoch_s_mean"]
        if beaten and other.values[1] <= begun["buffer_bytes"]:
            raise optuna.TrialPruned
    result = twin.simulate(config, ahead=True).row
    return result["epoch_s_mean"], result["buffer_bytes"]


def _finish(study: optuna.Study, out: Path, shown: Any) -> list[dict[str, Any]]:
    """Write and print the Pareto front, the fastest first; returns its rows."""
    import json

    import polars as pl
    from optuna.trial import TrialState
    from rich.table import Table

    front = sorted(study.best_trials, key=lambda trial: trial.values)
    if not front:
        raise InputError(f"no trial of {len(study.trials)} came to its end; are all buffers larger than the universe?")
    rows = [
        {"epoch_s_mean": trial.values[0], "buffer_bytes": int(trial.values[1])}
        | {name: trial.user_attrs["config"][name] for name in ("cache", "agent", "buffer", "universe", "init")}
        for trial in front
    ]
    with atomic_write(out / "front.csv") as partial:
        pl.DataFrame(rows).write_csv(partial)
    with atomic_write(out / "best.json") as partial:
        partial.write_text(json.dumps(front[0].user_attrs["config"], indent=2, sort_keys=True) + "\n")
    table = Table(*rows[0], title="Pareto front", title_justify="left")
    for row in rows:
        table.add_row(f"{row['epoch_s_mean']:.4g}", f"{row['buffer_bytes']:,}", *list(row.values())[2:])
    shown.print(table)
    states = [trial.state for trial in study.trials]
    shown.print(
        f"{states.count(TrialState.COMPLETE)} trials whole, {states.count(TrialState.PRUNED)} given up early, "
        f"{states.count(TrialState.FAIL)} failed; the fastest is in {out / 'best.json'}"
    )
    return rows


if __name__ == "__main__":
    run_command(app)
