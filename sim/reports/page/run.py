"""The page of one run: what `sim.run` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from sim.config import RunConfig
from sim.figures.agents import latency
from sim.figures.minibatches import fetched_rows, hit_rate, mark_decisions, step_breakdown
from sim.reports.page.commands import page_command, run_command
from sim.reports.page.content import Page, Picture, Section, Table, draw
from sim.runs.former_names import renamed, renamed_row
from traces.errors import InputError

RESULTS = ("policy", "epoch_s_mean", "vs_none", "stall_s_mean", "hit_rate_remote", "hit_rate_halo", "fetched_rows")
CREDIT = ("vs_never", "decisions", "usable_answers", "replacements")
DECISIONS = 300
"""At most so many decisions are on the page."""

COST = "What the seconds were simulated with, fitted to the trace."

SEEN = ("rank", "asked_minibatch", "hit_rate_remote", "stale_rows", "candidate_rows")
SAID = ("replace", "share", "ranking", "applied_minibatch", "outcome", "latency_s", "reason", "expected_impact")


@dataclass(frozen=True)
class Run:
    """A run's folder. `rows` are its policy, the baselines and the bound."""

    folder: Path
    config: RunConfig
    summary: dict[str, Any]
    rows: list[dict[str, Any]]

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Raises `InputError` for a folder that lacks a part."""
        summary = document(folder, "summary")
        return cls(folder, RunConfig.model_validate(document(folder, "config")), summary, _rows(summary))

    @property
    def notices(self) -> list[str]:
        """What is synthetic or incomplete, and a policy that did nothing."""
        found: list[str] = self.summary.get("notices", [self.summary["notice"]])
        return [notice for notice in found if notice]

    def table(self) -> Table:
        """The rows as a table."""
        return Table.of(self.rows, (*RESULTS, "fetched_over_min", *CREDIT))

    def page(self, out: Path) -> Page:
        """The run's page, which will be `out`. Raises `InputError` for a folder that lacks a part."""
        folder, config = self.folder, self.config
        minibatches, decisions = table(folder, "minibatches"), table(folder, "decisions")
        origin = "; ".join([*self.notices, f"{config.trace}, {config.agent}, simulated", f"run {config.id}"])
        commands = run_command(config), page_command(folder, out)
        sections = [
            Section("Results", "MIN knows the future: no policy fetches fewer rows.", table=self.table()),
            Section("Minibatch by minibatch", picture=over_time(config.agent, minibatches, decisions, origin)),
            step_parts(folder, minibatches, origin),
            *decisions_made(config.agent, decisions, origin),
            Section("Commands", "This run again, to the byte, and this page:", commands),
            Section("Configuration", source=json.dumps(config.model_dump(), indent=2)),
            Section("Cost model", COST, source=json.dumps(document(folder, "cost"), indent=2)),
        ]
        title = f"{config.agent} on {config.trace}"
        return Page(title, _summary(config, self.summary, self.rows), sections, self.notices)


def _rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [renamed_row(row) for row in summary["runs"]]
    none = next(row["epoch_s_mean"] for row in rows if row["policy"] == "none")
    least = next((row["fetched_rows"] for row in rows if row["policy"] == "MIN"), None)
    return [
        row
        | ({"vs_none": row["epoch_s_mean"] / none - 1} if "epoch_s_mean" in row else {})
        | ({"fetched_over_min": row["fetched_rows"] / least} if least else {})
        for row in rows
    ]


def _summary(config: RunConfig, summary: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    by_policy = {row["policy"]: row for row in rows}
    own, pipeline = by_policy[config.agent], by_policy["pipeline"]
    over = own["epoch_s_mean"] / pipeline["epoch_s_mean"] - 1
    lines = [
        f"An epoch takes {own['epoch_s_mean']:.3g} s (simulated): {_more(own['vs_none'])} than DistDGL as it is, "
        f"{_more(over)} than pipelining without a buffer.",
        f"Hits (exact): {own['hit_rate_remote']:.1%} of all remote rows.",
    ]
    if "fetched_over_min" in own:
        lines.append(
            f"Fetched rows (exact): {own['fetched_over_min']:.2f} times the fewest that any policy could fetch."
        )
    if "epoch_error_share" in summary:
        shares = f"epoch {summary['epoch_error_share']:+.1%}, fetch {summary['fetch_error_share']:+.1%}"
        lines.append(f"The model against the captured run itself: {shares}.")
    return lines


def _more(share: float) -> str:
    return f"{abs(share):.1%} {'less' if share < 0 else 'more'}"


def over_time(agent: str, minibatches: pl.DataFrame, decisions: pl.DataFrame, origin: str) -> Picture:
    """Hits and fetched rows of every minibatch, with the decisions marked."""

    def marked(axis: Any) -> Any:
        if decisions.height:
            mark_decisions(decisions, axis)
        return axis.legend(ncols=5, loc="lower left", bbox_to_anchor=(0, 1))

    drawings = [lambda axis: marked(fetched_rows(minibatches, axis))]
    says = f"Fetched rows of every minibatch under {agent} and without a buffer"
    if minibatches["hit_rows"].sum():
        drawings.insert(0, lambda axis: marked(hit_rate(minibatches, axis)))
        says = f"Hit rate and {says.lower()}"
    return draw("minibatches", says, (8.5, 2.5 * len(drawings)), origin, drawings)


def step_parts(folder: Path, minibatches: pl.DataFrame, origin: str) -> Section:
    """What the mean step of every policy is made of."""
    policies = minibatches["policy"].n_unique()
    picture = draw(
        "steps", "What the mean step is made of, under every policy", (8.5, 1.3 + 0.65 * policies), origin,
        [partial(step_breakdown, minibatches)],
    )  # fmt: skip
    trace = folder / "timeline.json"
    text = "What the mean step of every policy is made of. Preparing counts only where it sticks out as stall."
    if trace.exists():
        text += f" Every step of the run is in {trace}, to be opened in ui.perfetto.dev or chrome://tracing."
    return Section("Timeline", text, picture=picture)


def decisions_made(agent: str, decisions: pl.DataFrame, origin: str) -> list[Section]:
    """The decisions and how long they took; nothing where there were none."""
    if decisions.is_empty():
        return []
    rate = (pl.col("hit_rows") / pl.col("remote_rows")).alias("hit_rate_remote")
    rows = decisions.with_columns(rate).head(DECISIONS).to_dicts()
    wordless = {name for name in ("reason", "expected_impact") if not any(row[name] for row in rows)}
    columns = [name for name in (*SEEN, *SAID) if name not in wordless]
    replaced = int(decisions["replace"].sum())
    text = f"{decisions.height:,} decisions, {replaced:,} of them to replace."
    if decisions.height > DECISIONS:
        text += f" Here are the first {DECISIONS}; decisions.parquet has all."
    sections = [Section("Decisions", text, table=Table.of(rows, columns))]
    if decisions["latency_s"].sum():
        named = decisions.with_columns(pl.lit(agent).alias("agent"))
        picture = draw("latency", f"How long {agent} thought", (8.5, 1.9), origin, [partial(latency, named)])
        sections.append(Section("Latency", picture=picture))
    return sections


def document(folder: Path, name: str) -> dict[str, Any]:
    """NAME.json of a run's folder. Raises `InputError` where it can't be read."""
    path = folder / f"{name}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: can't be read ({error}); the command that wrote it, with --out {folder}, writes it again"
        ) from None
    return found


def table(folder: Path, name: str) -> pl.DataFrame:
    """NAME.parquet of a run's folder, with today's names. Raises `InputError` where it can't be read."""
    path = folder / f"{name}.parquet"
    try:
        return renamed(pl.read_parquet(path))
    except (OSError, pl.exceptions.PolarsError) as error:
        line = str(error).splitlines()[0]
        raise InputError(
            f"{path}: can't be read ({line}); the command that wrote it, with --out {folder}, writes it again"
        ) from None
