"""The page of a sweep: who won where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from sim.caches.registry import may_ask_policy
from sim.config import BUFFER_FIELDS, RunConfig
from sim.figures.sweep import epoch_times, heat_map, hit_rates, name_of
from sim.reports.leaderboard_view import LeaderboardView, text_of
from sim.reports.page.commands import page_command, run_command
from sim.reports.page.content import Page, Section, Table, draw
from sim.sweeps.leaderboard import pareto
from traces.errors import InputError

SHOWN = ("trace", "cache", "agent", "buffer", "universe", "init", "window", "mode", "link_bytes_per_s")
RESULTS = (
    "seeds", "epoch_s_mean", "vs_none", "vs_pipeline", "hit_rate_remote", "fetched_over_min", "buffer_bytes",
)  # fmt: skip
ROWS = 500
"""At most so many configurations are on the page."""

FIRST = {"epoch_s_mean": "Shortest mean epoch (simulated, s)", "fetched_rows": "Fewest fetched rows (exact)"}

NAMES = 16
"""At most so many policies are in the heat map."""


def page(view: LeaderboardView, out: Path) -> Page:
    """The page of a sweep's whole leaderboard, which will be `out`. Raises `InputError` where no run is finished."""
    board, folder, by, notices = view.whole, view.folder, view.by, view.notices
    if board.is_empty():
        raise InputError(f"{folder}: there is no finished run to show")
    varied = [name for name in SHOWN if board[name].n_unique() > 1] or ["agent"]
    text = "A row a configuration, means over its seeds; a heading that is clicked sorts."
    if board.height > ROWS:
        text += f" The first {ROWS} of {board.height:,}; python -m sim.report {folder} --csv FILE --top 99999 has all."
    rows = [_meant(row) for row in board.head(ROWS).to_dicts()]
    sections = [Section("Leaderboard", text, table=Table.of(rows, dict.fromkeys([*varied, *RESULTS, by])))]
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
    lines = []
    for row in best:
        name, first = name_of(pl.DataFrame([row], infer_schema_length=None))[0], FIRST.get(by, f"Smallest {by}")
        links = f", links {text_of('link_bytes_per_s', row['link_bytes_per_s'])}"
        size = (
            f", buffer {row['buffer']} ({text_of('buffer_bytes', row['buffer_bytes'])})" if row["buffer_rows"] else ""
        )
        lines.append(f"{first}: {text_of(by, row[by])}, by {name}{size} on {row['trace']}{links}.")
        if row["vs_none"] is not None:
            lines.append(f"Its epoch against DistDGL as it is: {row['vs_none']:+.1%} (simulated).")
    if board.select("trace", "link_bytes_per_s").n_unique() == 1:  # only then are all to be compared
        front = pareto(board.filter(~pl.col("bound")))
        lines.append(f"{front.height} of {board.height:,} configurations are on the Pareto front of time and buffer.")
    return lines


def _figures(trace: str, board: pl.DataFrame, notices: Sequence[str]) -> list[Section]:
    """Figures of one trace: one where it has something to show."""
    origin = "; ".join(["; ".join(notices), trace, "simulated"]).removeprefix("; ")
    stem, sections = Path(trace).stem, []
    buffered = board.filter(pl.col("buffer_rows") > 0)
    for (universe,), table in buffered.group_by("universe", maintain_order=True):
        if table["buffer"].n_unique() > 1:
            picture = draw(
                f"hit-rates-{stem}-{universe}", "Hit rate over the bytes of the buffer, a curve a cache", (8.5, 4.2),
                f"{origin}; universe {universe}", [partial(hit_rates, table)],
            )  # fmt: skip
            text = (
                "Exact counts. The thick line is Belady's MIN, which knows the future: above it is only what fetches "
                "rows beside misses."
            )
            sections.append(Section(f"{trace}: what to keep ({universe})", text, picture=picture))
    for (rate,), table in board.group_by("link_bytes_per_s", maintain_order=True):
        if table.filter(pl.col("buffer_rows") > 0)["buffer_bytes"].n_unique() > 1:
            links = text_of("link_bytes_per_s", rate)
            name = f"epoch-times-{stem}-{links.replace(' ', '-').replace('/', '-')}"
            picture = draw(
                name, "Mean epoch time over the buffer's bytes", (8.5, 4.0),
                f"{origin}; links {links}", [partial(epoch_times, table)],
            )  # fmt: skip
            text = "Simulated. On the front is what no other configuration betters in both time and memory."
            sections.append(Section(f"{trace}: what a byte buys (links {links})", text, picture=picture))
    return sections + _heat_map(trace, stem, buffered, origin)


def _heat_map(trace: str, stem: str, buffered: pl.DataFrame, origin: str) -> list[Section]:
    if buffered["link_bytes_per_s"].n_unique() < 2 or buffered["vs_pipeline"].null_count():
        return []
    sizes = buffered.group_by("buffer").agg(pl.col("buffer_bytes").mean()).sort("buffer_bytes")["buffer"]
    middle = sizes[len(sizes) // 2]
    table = buffered.filter(~pl.col("bound"), pl.col("buffer") == middle).sort("link_bytes_per_s")
    links = pl.Series("scenario", [text_of("link_bytes_per_s", rate) for rate in table["link_bytes_per_s"]], pl.String)
    table = table.with_columns(name_of(table), links)
    best = table.group_by("name").agg(pl.col("vs_pipeline").mean()).sort("vs_pipeline")["name"].head(NAMES)
    table = table.filter(pl.col("name").is_in(best.to_list()))
    picture = draw(
        f"scenarios-{stem}", "Change of the epoch time, policies by links", (8.5, 1.0 + 0.3 * len(best)),
        f"{origin}; buffer {middle}", [partial(heat_map, table)],
    )  # fmt: skip
    return [Section(f"{trace}: policies by network", f"Simulated, with a buffer of {middle}.", picture=picture)]


def _meant(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which what means nothing is empty: a buffer's options without one, a policy that no cache asks."""
    if not row["buffer_rows"]:
        return row | dict.fromkeys(BUFFER_FIELDS)
    asked = {} if may_ask_policy(row["cache"]) else {"agent": None}
    return row | asked | ({"cache": f"{row['cache']} (bound)"} if row["bound"] else {})


def _config(row: dict[str, Any]) -> RunConfig:
    known = {name: row[name] for name in RunConfig.model_fields if name in row and name not in ("trace_sha256", "seed")}
    return RunConfig(trace_sha256="", **known)
