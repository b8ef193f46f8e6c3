"""The page of a sweep: who won where."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from sim.caches.registry import may_ask_policy
from sim.config import BUFFER_FIELDS, TIME_FIELDS, RunConfig
from sim.figures.samplings import SHADED, samplings
from sim.figures.sweep import epoch_times, heat_map, hit_rates, name_of
from sim.reports.leaderboard_view import (
    LeaderboardView,
    is_sampled,
    setting_text,
    shown_columns,
    text_of,
    varied_settings,
)
from sim.reports.page.commands import page_command, run_command
from sim.reports.page.content import Page, Section, Table, draw
from sim.sweeps.leaderboard import CONFIGURATION, SETTING, pareto
from traces.errors import InputError

RESULTS = (
    "seeds", "epoch_s_mean", "vs_none", "vs_pipeline", "hit_rate_remote", "fetched_over_min", "buffer_bytes",
    "vs_never", "decisions", "usable_answers", "replacements",
)  # fmt: skip
ROWS = 500
"""At most so many configurations are on the page."""

FIRST = {"epoch_s_mean": "Shortest mean epoch (simulated, s)", "fetched_rows": "Fewest fetched rows (exact)"}

NAMES = 16
"""At most so many policies are in the heat map."""


def page(view: LeaderboardView, out: Path) -> Page:
    """The page of a sweep's whole leaderboard, which will be `out`. Raises `InputError` where no run is finished."""
    board, folder, by, notices = view.board, view.folder, view.by, view.notices
    if board.is_empty():
        raise InputError(f"{folder}: there is no finished run to show")
    varied = [name for name in shown_columns(board) if board[name].n_unique() > 1] or ["agent"]
    text = "A row a configuration, means over its seeds; a heading that is clicked sorts."
    if board.height > ROWS:
        text += f" The first {ROWS} of {board.height:,}; python -m sim.report {folder} --csv FILE --top 99999 has all."
    rows = [_meant(row) for row in board.head(ROWS).to_dicts()]
    sections = [Section("Leaderboard", text, table=Table.of(rows, dict.fromkeys([*varied, *RESULTS, by])))]
    if is_sampled(board):
        sections += _samplings(board, notices)
    else:
        for (trace,), of_trace in board.group_by("trace", maintain_order=True):
            sections += _figures(str(trace), of_trace, notices)
    if view.failed.height:
        table = Table.of(view.failed.head(ROWS).to_dicts(), [*varied, "error"])
        sections.append(Section("Failed runs", table=table))
    best = board.filter(~pl.col("bound")).head(1).to_dicts()
    commands = [run_command(_config(row)) for row in best] + [page_command(folder, out)]
    sections.append(Section("Commands", "The first configuration that is no bound, and this page:", tuple(commands)))
    return Page(f"Sweep of {board.height:,} configurations", _summary(board, best, by), sections, notices)


def _summary(board: pl.DataFrame, best: list[dict[str, Any]], by: str) -> list[str]:
    lines, settings = [], varied_settings(board) or ["link_bytes_per_s"]
    for row in best:
        name, first = name_of(pl.DataFrame([row], infer_schema_length=None))[0], FIRST.get(by, f"Smallest {by}")
        size = (
            f", buffer {row['buffer']} ({text_of('buffer_bytes', row['buffer_bytes'])})" if row["buffer_rows"] else ""
        )
        where = f"{row['trace']}, {setting_text(row, settings)}"
        lines.append(f"{first}: {text_of(by, row[by])}, by {name}{size} on {where}.")
        if row["vs_none"] is not None:
            lines.append(f"Its epoch against DistDGL as it is: {row['vs_none']:+.1%} (simulated).")
    if board.select(SETTING).n_unique() == 1:  # only then are all to be compared
        front = pareto(board.filter(~pl.col("bound")))
        lines.append(f"{front.height} of {board.height:,} configurations are on the Pareto front of time and buffer.")
    return lines


def _samplings(board: pl.DataFrame, notices: Sequence[str]) -> list[Section]:
    """Epoch times and fetched bytes over batch sizes and fanouts, a figure for each number of machines and trainers."""
    sections, origin = [], "; ".join([*notices, "simulated"])
    settings = varied_settings(board)
    for (parts, trainers, *_), table in board.group_by("parts", "trainers", *settings, maintain_order=True):
        of = f"{parts} machines, {trainers} trainers each"
        if settings:
            of += f", {setting_text(table.row(0, named=True), settings)}"
        height = 1.6 + 0.55 * table["fanout"].n_unique()
        picture = draw(
            f"samplings-{_slug(of)}", "Epoch time and fetched bytes by batch size and fanout", (8.5, 2 * height),
            f"{origin}; {of}", [partial(samplings, table, value=value) for value in SHADED],
        )  # fmt: skip
        text = "The best policy of every batch size and fanout: by predicted time above, by exact counts of rows below."
        sections.append(Section(f"Batch sizes and fanouts ({of})", text, picture=picture))
    return sections


def _figures(trace: str, board: pl.DataFrame, notices: Sequence[str]) -> list[Section]:
    """Figures of one trace: one where it has something to show."""
    origin = "; ".join(["; ".join(notices), trace, "simulated"]).removeprefix("; ")
    stem, sections, settings = Path(trace).stem, [], varied_settings(board)
    buffered = board.filter(pl.col("buffer_rows") > 0)
    counted = [name for name in settings if name not in TIME_FIELDS]
    for (universe, *_), table in buffered.group_by("universe", *counted, maintain_order=True):
        if table["buffer"].n_unique() > 1:
            of = ", ".join(filter(None, [str(universe), setting_text(table.row(0, named=True), counted)]))
            picture = draw(
                f"hit-rates-{stem}-{_slug(of)}", "Hit rate over the bytes of the buffer, a curve a cache", (8.5, 4.2),
                f"{origin}; universe {of}", [partial(hit_rates, table)],
            )  # fmt: skip
            text = (
                "Exact counts. The thick line is Belady's MIN, which knows the future: above it is only what fetches "
                "rows beside misses."
            )
            sections.append(Section(f"{trace}: what to keep ({of})", text, picture=picture))
    names = settings or ["link_bytes_per_s"]
    for _, table in board.group_by(names, maintain_order=True):
        if table.filter(pl.col("buffer_rows") > 0)["buffer_bytes"].n_unique() > 1:
            of = setting_text(table.row(0, named=True), names)
            picture = draw(
                f"epoch-times-{stem}-{_slug(of.removeprefix('links '))}", "Mean epoch time over the buffer's bytes",
                (8.5, 4.0), f"{origin}; {of}", [partial(epoch_times, table)],
            )  # fmt: skip
            text = "Simulated. On the front is what no other configuration betters in both time and memory."
            sections.append(Section(f"{trace}: what a byte buys ({of})", text, picture=picture))
    return sections + _heat_map(trace, stem, buffered, origin, settings)


def _heat_map(trace: str, stem: str, buffered: pl.DataFrame, origin: str, settings: list[str]) -> list[Section]:
    """Policies by settings, where there are several and every run has its own baseline."""
    if buffered.select(settings).n_unique() < 2 or buffered["vs_pipeline"].null_count():
        return []
    sizes = buffered.group_by("buffer").agg(pl.col("buffer_bytes").mean()).sort("buffer_bytes")["buffer"]
    middle = sizes[len(sizes) // 2]
    table = buffered.filter(~pl.col("bound"), pl.col("buffer") == middle).sort(settings)
    of = pl.Series("scenario", [setting_text(row, settings).removeprefix("links ") for row in table.to_dicts()])
    table = table.with_columns(name_of(table), of.cast(pl.String))
    best = table.group_by("name").agg(pl.col("vs_pipeline").mean()).sort("vs_pipeline")["name"].head(NAMES)
    table = table.filter(pl.col("name").is_in(best.to_list()))
    picture = draw(
        f"scenarios-{stem}", "Change of the epoch time, policies by settings", (8.5, 1.0 + 0.3 * len(best)),
        f"{origin}; buffer {middle}", [partial(heat_map, table)],
    )  # fmt: skip
    return [Section(f"{trace}: policies by setting", f"Simulated, with a buffer of {middle}.", picture=picture)]


def _slug(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.=]+", "-", text).strip("-")


def _meant(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which what means nothing is empty: a buffer's options without one, a policy that no cache asks."""
    if not row["buffer_rows"]:
        return row | dict.fromkeys(BUFFER_FIELDS)
    asked = {} if may_ask_policy(row["cache"]) else {"agent": None}
    return row | asked | ({"cache": f"{row['cache']} (bound)"} if row["bound"] else {})


def _config(row: dict[str, Any]) -> RunConfig:
    return RunConfig(**{name: row[name] for name in CONFIGURATION if name in row})
