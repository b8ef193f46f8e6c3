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
    from rich.console import Console

    from sim.runs.twin import Twin
    from sim.sweeps.search import Space

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.tune --trace traces/debian.parquet --trials 200

python -m sim.tune --trace traces/papers100m.parquet --caches "score lru" --agents "every never" --largest 10

python -m sim.run --trace traces/debian.parquet --policy results/tune/best.json
"""

AGENTS = "never every random threshold partial"


@app.command(epilog=EXAMPLES)
def main(
    trace: Annotated[Path, typer.Option(help="A trace.")],
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, including those of earlier calls.")] = 100,
    caches: Annotated[
        str | None,
        typer.Option(help="Caches to choose from.", show_default="all that a live run can have (sim.run --list)"),
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(
            help="Policies to choose from; every, random, threshold and partial are tuned.", show_default=AGENTS
        ),
    ] = None,
    smallest: Annotated[float, typer.Option(min=0.01, help="Smallest buffer, in percent of the halo.")] = 1.0,
    largest: Annotated[float, typer.Option(max=100, help="Largest buffer, in percent of the halo.")] = 50.0,
    universes: Annotated[str, typer.Option(help="Universes to choose from.")] = "halo remote",
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

    Every cache is tried in every universe first. Prints the Pareto front and writes OUT/best.json, the fastest of it,
    which sim.run --policy accepts, and OUT/front.csv. Several processes may work on the same OUT.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise InputError("sim.tune needs optuna: pip install 'rudder-twin[tune]'") from None
    from typing import get_args

    from agents.registry import resolve
    from sim.caches.registry import may_ask_policy
    from sim.runs.twin import Twin
    from sim.sweeps.search import RANGES, SeededByTrial, Space, begun_trials, objective
    from sim.workload.stream import UniverseKind
    from traces.cluster.link import parse_link

    if not smallest <= largest:
        raise InputError(f"--smallest {smallest:g} is above --largest {largest:g}")
    for name in universes.split():
        if name not in get_args(UniverseKind):
            raise InputError(f"--universes {name}: there are {', '.join(get_args(UniverseKind))}")
    for name in (agents or AGENTS).split():
        if not resolve(name if name not in RANGES else f"{name}:{RANGES[name][0]}").buffered:
            raise InputError(f"--agents {name}: has no buffer to search for; leave it out")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    screen = console(quiet or json)
    twin = Twin.open(trace, set(universes.split()))  # type: ignore[arg-type]
    if twin.header.notice:
        screen.print(f"[bold yellow]{twin.header.notice}[/]")
    usable = _usable(caches, twin, screen)
    if agents is not None and not any(may_ask_policy(name) for name in usable):
        raise InputError(f"--agents {agents}: none of the caches {', '.join(usable)} asks a policy; leave it out")
    space = Space(
        caches=usable,
        agents=(agents or AGENTS).split(),
        universes=universes.split(),
        smallest=smallest,
        largest=largest,
        fixed={
            "trace": trace.name,
            "trace_sha256": twin.sha256,
            "link_bytes_per_s": parse_link(link) if link else None,
        },
        first_epochs=first_epochs,
        seed=seed,
    )
    study = _study(out, space, SeededByTrial(seed))
    first = twin.head(first_epochs)
    left = max(trials - begun_trials(study), 0)
    with progress(quiet=quiet or json) as bar:
        task = bar.add_task("tuning", total=left)

        def ended(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            bar.advance(task)
            if begun_trials(study) >= trials:  # counts those of other processes, too
                study.stop()

        if left:
            study.optimize(
                lambda trial: objective(trial, space.suggest(trial), first, twin),
                n_trials=left, callbacks=[ended], catch=(InputError,),
            )  # fmt: skip
    rows = _finish(study, out, screen)
    if json:
        print_json({"notice": twin.header.notice, "rows": rows})


def _usable(given: str | None, twin: Twin, screen: Console) -> list[str]:
    """The caches to choose from: those given, or by default all of ours that can run live and that the trace has the
    data for. Raises `InputError` for one that was given and can't be made."""
    from sim.caches.registry import live_caches
    from sim.counts.policy_runs import make_trainer_cache

    names = live_caches() if given is None else given.split()
    usable = []
    for name in names:
        one = next(iter(twin.inputs.values()))[0]
        config = twin.config("never", cache=name, buffer="1")
        try:
            make_trainer_cache(twin.header, one.rank, one.stream.universe, config, one.stream)
            usable.append(name)
        except InputError as error:
            if given is not None:
                raise
            screen.print(f"left out: {error}")
    return usable


def _study(out: Path, space: Space, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """The study in a folder, or a new one. Raises `InputError` if the folder holds a study of other options."""
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    out.mkdir(parents=True, exist_ok=True)
    path = str(out / "study.log")
    study = optuna.create_study(
        study_name=f"{space.fixed['trace']} {space.fixed['trace_sha256'][:16]}",
        storage=optuna.storages.JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path))),
        directions=["minimize", "minimize"],
        sampler=sampler,
        load_if_exists=True,
    )
    described = space.describe()
    searched = study.user_attrs.get("space")
    if searched is None:
        study.set_user_attr("space", described)
        for parameters in space.first_trials():
            study.enqueue_trial(parameters, skip_if_exists=True)
    elif searched != described:
        differs = ", ".join(name for name in described if searched.get(name) != described[name])
        raise InputError(f"{out}: holds a search of other options ({differs}); give another --out, or the same options")
    return study


def _finish(study: optuna.Study, out: Path, screen: Any) -> list[dict[str, Any]]:
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
    screen.print(table)
    states = [trial.state for trial in study.trials]
    screen.print(
        f"{states.count(TrialState.COMPLETE)} trials completed, {states.count(TrialState.PRUNED)} given up early, "
        f"{states.count(TrialState.FAIL)} failed; the fastest is in {out / 'best.json'}"
    )
    return rows


if __name__ == "__main__":
    run_command(app)
