"""The page of judged decisions: what `sim.judge --out` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from sim.figures.agents import latency, regret
from sim.reports.page.commands import page_command
from sim.reports.page.content import Page, Section, Table, draw
from sim.runs.former_names import renamed
from traces.errors import InputError

REPORT = (
    "agent", "seed", "decisions", "valid", "latency_s", "replacements", "interval", "pass_at_1", "regret_rows",
    "regret_ms", "hit_rate_remote", "fetched_rows", "over_MIN", "epoch_s", "vs_never", "usable_answers",
)  # fmt: skip
DECISION = (
    "rank", "minibatch", "hit_rate", "stall_share", "stale_share", "replaced", "better", "right", "regret_rows",
    "regret_s", "outcome", "latency_s", "reason",
)  # fmt: skip
ROWS = 300
"""At most so many decisions are on the page."""


@dataclass(frozen=True)
class Judged:
    """A judge's folder: its report (a row a seed of the agent, and one of its control), and the decisions of both."""

    folder: Path
    report: pl.DataFrame
    decisions: pl.DataFrame

    @classmethod
    def open(cls, folder: Path) -> Judged:
        """Raises `InputError` for a folder that lacks a part."""
        control = pl.lit(True).alias("control")
        try:
            report, judged = (pl.read_parquet(folder / f"{name}.parquet") for name in ("report", "judged"))
            tables = [judged.with_columns(~control)]
            if (path := folder / "control.parquet").exists():
                tables.append(pl.read_parquet(path).with_columns(control))
        except (OSError, pl.exceptions.PolarsError) as error:
            line = str(error).splitlines()[0]
            raise InputError(f"{folder}: {line}; python -m sim.judge --out {folder} writes it again") from None
        return cls(folder, renamed(report), pl.concat(tables, how="diagonal_relaxed"))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The report."""
        return self.report.drop("command", "notice").to_dicts()

    @property
    def notices(self) -> list[str]:
        """What is synthetic or incomplete, and a policy that did nothing."""
        found: list[str] = self.report["notice"][0].splitlines()
        return found

    def table(self) -> Table:
        """The report as a table."""
        rows = [row | {"agent": f"control of {row['agent']}" if row["control"] else row["agent"]} for row in self.rows]
        return Table.of(rows, [name for name in REPORT if name in self.report.columns])

    def page(self, out: Path) -> Page:
        """The page, which will be `out`."""
        agent = self.report.filter(~pl.col("control"))["agent"][0]
        origin = "; ".join([*self.notices, f"{self.report['trace'][0]}, {agent}, simulated"])
        sections = [Section("Report", "The control is a random gate that replaces as often.", table=self.table())]
        if self.decisions.height:
            sections += self._decided(agent, origin)
        sections.append(Section("Commands", commands=(self.report["command"][0], page_command(self.folder, out))))
        return Page(f"Judged decisions of {agent}", _summary(self.report, agent), sections, self.notices)

    def _decided(self, agent: str, origin: str) -> list[Section]:
        """Regret, latency where there is any, and the decisions themselves."""
        both, own = self.decisions.with_columns(pl.lit(agent).alias("agent")), self.decisions.filter(~pl.col("control"))
        says = "Mean regret of the agent beside its control"
        picture = draw("regret", says, (8.5, 1.8), origin, [partial(regret, both)])
        sections = [Section("Regret", "Both branches of every decision were simulated.", picture=picture)]
        if own["latency_s"].sum():
            named = own.with_columns(pl.lit(agent).alias("agent"))
            picture = draw("latency", f"How long {agent} thought", (8.5, 1.9), origin, [partial(latency, named)])
            sections.append(Section("Latency", picture=picture))
        text = f"{own.height:,} decisions" + (f"; here are the first {ROWS}." if own.height > ROWS else ".")
        wordless = [] if own["reason"].str.len_chars().sum() else ["reason"]
        columns = [name for name in DECISION if name in own.columns and name not in wordless]
        return [*sections, Section("Decisions", text, table=Table.of(own.head(ROWS).to_dicts(), columns))]


def _summary(report: pl.DataFrame, agent: str) -> list[str]:
    means = report.group_by("control").agg(pl.col("pass_at_1", "regret_rows", "epoch_s").mean()).sort("control")
    own, *controls = means.to_dicts()
    passed, rows = f"{own['pass_at_1']:.1%} of its decisions", f"{own['regret_rows']:,.0f} rows"
    lines = [f"{agent}: {passed} took no worse branch; its mean regret is {rows} a decision."]
    for control in controls:
        beats = own["regret_rows"] < control["regret_rows"] and own["epoch_s"] < control["epoch_s"]
        lines.append(
            f"A random gate that replaces as often: {control['regret_rows']:,.0f} rows, and an epoch of "
            f"{control['epoch_s']:.4g} s where the agent has {own['epoch_s']:.4g} s. Only what beats it in both counts "
            f"as adaptive; this agent {'does' if beats else 'does not'}, over {report['seed'].n_unique()} seeds."
        )
    return lines
