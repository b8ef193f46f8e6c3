"""The page of one live run: what `replay.live` wrote, measured and not simulated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.registry import entry_of
from sim.caches.registry import may_ask_policy
from sim.config import RunConfig
from sim.reports.page.commands import compare_command, page_command
from sim.reports.page.content import Page, Section, Table
from sim.reports.page.run import RESULTS, decisions_made, document, over_time, step_parts, table
from sim.runs.former_names import renamed_row
from sim.runs.results import idle_notice
from traces.header import Header
from traces.reader import Trace

TRACE = "trace.parquet"
"""The file that only live runs have."""

MEASURED = (*RESULTS, "decisions", "usable_answers", "replacements", "loss_last_epoch", "score_val", "score_test")


@dataclass(frozen=True)
class LiveRun:
    """A live run's folder. `rows` is its summary, in one row."""

    folder: Path
    config: RunConfig
    summary: dict[str, Any]
    header: Header

    @classmethod
    def open(cls, folder: Path) -> LiveRun:
        """Raises `InputError` for a folder that lacks a part."""
        config = RunConfig.model_validate(document(folder, "config"))
        return cls(folder, config, document(folder, "summary"), Trace(folder / TRACE).header)

    @property
    def notices(self) -> list[str]:
        """What is synthetic or incomplete."""
        ended = [] if self.header.complete else [f"ended early, after {self.header.epochs} whole epochs"]
        [row] = self.rows
        asked = entry_of(self.config.agent).buffered and may_ask_policy(self.config.cache)
        idle = asked and self.config.agent != "never" and "usable_answers" in row
        did_nothing = idle_notice(self.config.agent, row) if idle else ""
        return [notice for notice in (self.summary["notice"], did_nothing, *ended) if notice]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [renamed_row(row) for row in self.summary["runs"]]

    def table(self) -> Table:
        """The rows as a table."""
        return Table.of(self.rows, [name for name in MEASURED if name in self.rows[0]])

    def page(self, out: Path) -> Page:
        """The run's page, which will be `out`. Raises `InputError` for a folder that lacks a part."""
        folder, header, agent = self.folder, self.header, self.config.agent
        minibatches, decisions, epochs = (table(folder, name) for name in ("minibatches", "decisions", "epochs"))
        graph, where = header.graph.name, f"{len(header.cluster.hosts)} hosts ({header.cluster.form})"
        origin = "; ".join([*self.notices, f"{graph}, {agent}, a live run on {where}", f"run {self.config.id}"])
        commands = header.command, compare_command(folder), page_command(folder, out)
        sections = [
            Section("Results", "Measured on the cluster; hits and rows are counted.", table=self.table()),
            Section("Epochs", table=Table.of(epochs.to_dicts(), [one for one in epochs.columns if one != "policy"])),
            Section("Minibatch by minibatch", picture=over_time(agent, minibatches, decisions, origin)),
            step_parts(folder, minibatches, origin),
            *decisions_made(agent, decisions, origin),
            Section("Commands", "What ran, how far its simulation is off, and this page:", commands),
            Section("Configuration", source=json.dumps(self.config.model_dump(), indent=2)),
            Section("Run", source=header.model_dump_json(exclude={"partition"}, indent=2)),
        ]
        return Page(f"{agent} live on {graph}", self._summary(where), sections, self.notices)

    def _summary(self, where: str) -> list[str]:
        [own] = self.rows
        lines = [
            f"An epoch took {own['epoch_s_mean']:.3g} s (measured) on {where}.",
            f"Hits: {own['hit_rate_remote']:.1%} of all remote rows; {own['fetched_rows']:,} rows were fetched.",
        ]
        if "checked_rows" in self.summary:
            wrong, checked = self.summary["wrong_rows"], self.summary["checked_rows"]
            lines.append(f"{checked:,} rows were compared with their owners': {wrong:,} were wrong.")
        return lines
