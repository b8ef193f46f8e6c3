"""`python -m sim.judge`: whether each decision of a run was right, with both of its branches simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agents.options import AskAgain, ModelHost, TimeoutS
from sim.runs.options import Agent, Buffer, CacheSpec, Init, InUniverse, Mode, PolicyFile, Trust, Window
from traces.errors import run_command
from traces.output import folder_to_write, write_table
from traces.terminal import Json, Quiet, command_line, console, print_json

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.judge --trace traces/debian.parquet --agent hill-climb:16 --cache score-public

python -m sim.judge --trace traces/papers100m.parquet --agent ollama:llama3 --window 8 --seconds

python -m sim.judge --trace traces/debian.parquet --agent random:0.5 --window 4 --seeds 8 --out results/judged
"""


PARTS = ("judged", "control")
"""The policy's decisions, and those of its control."""


@app.command(epilog=EXAMPLES)
def main(
    trace: Annotated[Path, typer.Option(help="A trace: traces/*.parquet, or your own capture.")],
    agent: Agent = None,
    cache: CacheSpec = None,
    buffer: Buffer = None,
    init: Init = None,
    universe: InUniverse = None,
    window: Window = None,
    mode: Mode = None,
    horizon: Annotated[int, typer.Option(min=1, help="Minibatches over which branches are compared.")] = 32,
    seconds: Annotated[bool, typer.Option(help="Compare the branches in time as well (slow).")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Runs, with seeds 0, 1, ...")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for judged.parquet, a row a decision; sim.report shows it.", callback=folder_to_write
        ),
    ] = None,
    model_host: ModelHost = None,
    ask_again: AskAgain = False,
    timeout_s: TimeoutS = 60.0,
    policy: PolicyFile = None,
    trust: Trust = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge every decision of a policy: the state is forked, and both branches run for a horizon.

    Prints, beside a random gate with the same rate of replacements: valid answers, latency, interval, exact pass@1,
    regret, hit rate, fetched rows over MIN, and epoch time.
    """
    from rich.table import Table

    from agents.registry import ModelOptions
    from sim.runs.choose import choose, refuse_model_options
    from sim.runs.judging import judged_run
    from sim.runs.twin import Twin

    model = ModelOptions(host=model_host, timeout_s=timeout_s, keep_answers=not ask_again)
    plan, options = choose(
        policy=policy,
        agent=agent,
        cache=cache,
        buffer=buffer,
        init=init,
        universe=universe,
        window=window,
        mode=mode,
        seed=None,
        model=model,
        trust=trust,
    )
    refuse_model_options(plan, model)
    twin = Twin.open(trace, {options.get("universe", "halo")})
    tables: dict[str, list[pl.DataFrame]] = {}
    reports: list[dict[str, Any]] = []
    notices: dict[str, None] = {}
    for seed in range(seeds):
        config = twin.config(plan, **options).model_copy(update={"seed": seed})
        run = twin.simulate(config, plan=plan)
        for part, judged in zip(PARTS, judged_run(run, horizon, seconds), strict=False):
            tables.setdefault(part, []).append(judged.table)
            notices |= dict.fromkeys(judged.notices if part == "judged" else [])
            reports.append({"agent": plan.name, "control": part == "control", "seed": seed} | judged.report)
    notice = twin.header.notice
    if json:
        print_json({"notice": notice, "notices": list(notices), "rows": reports})
    elif not quiet:
        table = Table("", plan.name, *(["control"] if len(tables) > 1 else []))
        for name in [name for name in reports[0] if name not in ("agent", "control", "seed")]:
            means = [_mean([row[name] for row in reports if row["control"] == other]) for other in (False, True)]
            table.add_row(name.replace("_", " "), *means[: len(tables)])
        for one in notices:
            console().print(f"[bold yellow]{one}[/]")
        console().print(table)
        console().print(f"mean of {seeds} runs; control: a random gate with the same rate of replacements")
    if out is not None:
        origin = {
            "trace": trace.name,
            "notice": "\n".join(notices),
            "command": command_line("sim.judge"),
        }
        _write(out, tables, [row | origin for row in reports])
        if not quiet and not json:
            print(f"{out / 'judged.parquet'}: a row a decision")


def _write(out: Path, tables: dict[str, list[pl.DataFrame]], reports: list[dict[str, Any]]) -> None:
    """Write PART.parquet, the decisions of the policy and of its control, and report.parquet."""
    import polars as pl

    for part, judged in tables.items():
        write_table(pl.concat(judged), out / f"{part}.parquet")
    write_table(pl.DataFrame(reports, infer_schema_length=None), out / "report.parquet")


def _mean(values: list[float]) -> str:
    mean = sum(values) / len(values)
    return f"{mean:,.0f}" if mean >= 1000 else f"{mean:.4g}"


if __name__ == "__main__":
    run_command(app)
