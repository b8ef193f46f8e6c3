"""The selected part of a sweep's leaderboard as text, Markdown or CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sim.caches.registry import may_ask_policy
from sim.config import BUFFER_FIELDS
from sim.runs.results import idle_notice
from sim.sweeps import leaderboard
from sim.sweeps.batches import SAMPLING
from sim.sweeps.leaderboard import CONFIGURATION, SETTING

FIRST = ("trace", "cache", "agent", "buffer", "universe", "init", "window", "mode", "link_bytes_per_s")
SHOWN = (*FIRST, *(name for name in CONFIGURATION if name not in (*FIRST, "trace_sha256")))
"""Columns of configurations in the order in which they are shown, where rows differ in them."""

RESULTS = ("seeds", "epoch_s_mean", "vs_none", "hit_rate_remote", "fetched_over_min", "buffer_bytes")
CREDIT = ("vs_never", "replacements", "usable_answers")
"""Shown where a policy decided."""

AS_CAPTURED = ("link_bytes_per_s", "link_latency_s", "trainers_per_host", "feature_bytes", "owners_sha256", "cluster")
"""Columns in which null means "as captured"."""


def text_of(name: str, value: Any) -> str:
    """A formatted value, by the unit in its column's name."""
    if value is None or value != value or value == "":
        return "as captured" if name in AS_CAPTURED else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("cluster", "scenario"):
        return _words(json.loads(value))
    if name == "owners_sha256":
        return f"owners {value[:8]}"
    if name == "link_bytes_per_s":
        return f"{value * 8 / 1e6:g} Mbit/s"
    if name.startswith("vs_"):
        return f"{value:+.1%}"
    if "rate" in name or name.endswith("share") or name == "pass_at_1":
        return f"{value:.1%}"
    if name.endswith("_bytes"):
        return f"{value / 1e6:,.1f} MB"
    if name.endswith("_rows"):
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _words(document: dict[str, Any]) -> str:
    """A scenario or a cluster in words: `congestion start_s=4 factor=0.25`."""
    parts = []
    for name, value in document.items():
        for one in value if isinstance(value, list) else [value]:
            said = " ".join(f"{key}={value}" for key, value in one.items()) if isinstance(one, dict) else ""
            parts.append(f"{name} {said}" if said else f"{name}={one}")
    return ", ".join(parts)


def idle_notices(board: pl.DataFrame) -> list[str]:
    """Warnings about policies that changed nothing, each with its buffer, in the leaderboard's order."""
    if "usable_answers" not in board.columns:
        return []
    idle = board.filter(
        (pl.col("usable_answers") == 0) & (pl.col("buffer_rows") > 0) & (pl.col("agent") != "never")
    ).to_dicts()
    notices = [
        idle_notice(f"{row['agent']} with {row['cache']} of {row['buffer']}", row)
        for row in idle
        if may_ask_policy(row["cache"])
    ]
    return list(dict.fromkeys(notices))


def shown_columns(board: pl.DataFrame) -> list[str]:
    """Columns of configurations in the order in which they are shown: of traces that were all sampled offline, what was
    asked for, and not the names."""
    if not is_sampled(board):
        return [*SHOWN]
    return [*SAMPLING, *(name for name in SHOWN if name not in ("trace", "cost_sha256"))]


def is_sampled(board: pl.DataFrame) -> bool:
    """Whether all runs are over traces that were sampled offline."""
    return set(SAMPLING) <= set(board.columns) and not board["batch"].null_count()


def extrapolated_notices(board: pl.DataFrame) -> list[str]:
    """One line where predicted times lie beyond what was captured."""
    if "extrapolated" not in board.columns:
        return []
    traces = board.filter(pl.col("extrapolated").is_not_null()).unique("trace", keep="first", maintain_order=True)
    beyond = traces.filter(pl.col("extrapolated") != "")
    if beyond.is_empty():
        return []
    text = beyond["extrapolated"].sort()[0]
    if beyond.height == 1:
        return [f"{beyond['trace'][0]}: {text}"]
    return [f"{beyond.height} of {traces.height} sampled traces, column extrapolated has all: {text}"]


def varied_settings(board: pl.DataFrame) -> list[str]:
    """Fields of `leaderboard.SETTING` in which rows differ."""
    return [name for name in SETTING if name != "trace_sha256" and board[name].n_unique() > 1]


def setting_text(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """A row's setting in words, as far as `names` go."""
    unsaid = {"depth": "by policy", "scenario": "nothing goes wrong"}
    texts = {name: text_of(name, row[name]) or unsaid.get(name, "") for name in names}
    if "link_bytes_per_s" in texts:
        texts["link_bytes_per_s"] = f"links {texts['link_bytes_per_s']}"
    worded = ("link_bytes_per_s", "owners_sha256", "scenario")
    return ", ".join(text if name in worded else f"{name} {text}" for name, text in texts.items())


@dataclass(frozen=True)
class LeaderboardView:
    """A sweep's leaderboard (`board`), the rows of it that were `selected`, and the numbers of its `runs` and `failed`
    runs."""

    folder: Path
    by: str
    groups: Sequence[str]
    board: pl.DataFrame
    selected: pl.DataFrame
    runs: int
    failed: pl.DataFrame
    notices: list[str]

    @classmethod
    def open(
        cls, folder: Path, *, where: Sequence[str], groups: Sequence[str], by: str, top: int, pareto: bool
    ) -> LeaderboardView:
        """Read a sweep. Raises `InputError` where there is none, and for columns that there are not."""
        table = leaderboard.where(leaderboard.read(folder), where)
        board = leaderboard.leaderboard(table, by)
        selected = leaderboard.best_of(leaderboard.pareto(board, by) if pareto else board, groups, top)
        notices = sorted(set(table["notice"].drop_nulls()) - {""}) if "notice" in table.columns else []
        notices = [*notices, *extrapolated_notices(board), *idle_notices(board)]
        failed = table.filter(table["error"].is_not_null())
        return cls(folder, by, groups, board, selected, table.height, failed, notices)

    @property
    def title(self) -> str:
        """A title with the number of rows selected."""
        return f"{self.folder}: {self.selected.height} of {self.runs} runs"

    def lines(self) -> list[dict[str, str]]:
        """What is shown, as text by column: columns in which all rows agree are left out."""
        if self.selected.is_empty():
            return []
        varied = [name for name in shown_columns(self.board) if self.selected[name].n_unique() > 1]
        known = {"decisions", *CREDIT} <= set(self.selected.columns)  # not in results of earlier versions
        credit = CREDIT if known and self.selected["decisions"].sum() else ()
        named = dict.fromkeys([*self.groups, *(varied or ["agent"]), *RESULTS, *credit, self.by])
        rows = []
        for row in self.selected.iter_rows(named=True):
            texts = {name: text_of(name, row[name]) for name in named}
            if "usable_answers" in named:
                texts["usable_answers"] = f"{row['usable_answers']:.0f} of {row['decisions']:.0f}"
            if not row.get("decisions"):
                texts |= dict.fromkeys((name for name in ("replacements", "usable_answers") if name in texts), "")
            if not row["buffer_rows"]:
                texts |= dict.fromkeys((name for name in BUFFER_FIELDS if name in texts), "")
            elif row["bound"] and "cache" in texts:
                texts["cache"] += " (bound)"
            if (interval := row[f"{self.by}_interval"]) is not None:
                texts[self.by] += f" ± {text_of(self.by, interval)}"
            rows.append(texts)
        return rows

    def csv(self) -> str:
        """All columns of what is shown, after the notices as comments."""
        return "".join(f"# {one}\n" for one in self.notices) + self.selected.write_csv()

    def markdown(self) -> str:
        """What is shown as a Markdown table, after the notices."""
        lines = self.lines()
        rows = [list(lines[0]), ["---"] * len(lines[0]), *(list(line.values()) for line in lines)] if lines else []
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows) or "no runs\n"
        return "".join(f"**{one}**\n\n" for one in self.notices) + table
