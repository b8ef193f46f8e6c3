"""The content of a page before rendering: sections of text, tables and figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sim.figures.style import STYLE, caption
from sim.reports.leaderboard_view import text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME_LETTERS = 32
"""Longer names may be folded in a table."""

HEADINGS = {
    "policy": ("policy", "what decides when the buffer replaces rows"),
    "epoch_s_mean": ("epoch s", "mean epoch time"),
    "vs_none": ("vs none", "mean epoch time against DistDGL as it is, less 1"),
    "vs_pipeline": ("vs pipeline", "mean epoch time against pipelining without a buffer, less 1"),
    "vs_never": ("vs never", "mean epoch time against the same buffer left as it was filled, less 1"),
    "usable_answers": ("usable", "answers of the policy that were valid and applied"),
    "replacements": ("replaced", "decisions to replace rows that applied"),
    "stall_s_mean": ("stall s", "mean time that a trainer waits for its next minibatch"),
    "hit_rate_remote": ("hits", "hits over all remote rows"),
    "hit_rate_halo": ("of halo", "hits over the remote rows inside the halo"),
    "fetched_rows": ("fetched rows", "misses, replacements and the initial fill"),
    "fetched_over_min": ("x MIN", "fetched rows over the fewest possible"),
    "buffer_bytes": ("buffer MB", "bytes of a trainer's buffer"),
    "link_bytes_per_s": ("links", "rate of each host's link"),
    "asked_minibatch": ("asked after", "minibatch of the run after which the policy was asked"),
    "applied_minibatch": ("applied from", "minibatch from which the answer applied; empty where the run ended before"),
    "latency_s": ("latency s", "how long the answer took"),
    "regret_rows": ("regret rows", "rows that the branch taken fetched beyond the better one"),
    "pass_at_1": ("pass@1", "share of decisions that took no worse branch"),
    "over_MIN": ("x MIN", "fetched rows over the fewest possible"),
}
"""Headings of columns, and their meanings."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text, and the number to sort it by, if it has one."""

    text: str
    number: float | None = None

    @property
    def kind(self) -> str:
        """How it is set: a number, words that may be folded, or a name that may not."""
        return "number" if self.number is not None else "words" if len(self.text) > NAME_LETTERS else "name"


@dataclass(frozen=True, slots=True)
class Table:
    """A sortable table; `headings` are pairs of a name and what it means."""

    headings: list[tuple[str, str]]
    rows: list[list[Cell]]

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return any(row[column].number is not None for row in self.rows)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> Table:
        """The `columns` of rows of results."""
        columns = list(columns)
        headings = [HEADINGS.get(name, (name.replace("_", " "), "")) for name in columns]
        return cls(headings, [[_cell(name, row.get(name)) for name in columns] for row in rows])


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as SVG and PNG. `name` is its file's, without an ending; `says` is read out to who can't see it."""

    name: str
    says: str
    svg: bytes
    png: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, and under it what there is of text, commands, a picture, a table, and text as it stands."""

    title: str
    text: str = ""
    commands: tuple[str, ...] = ()
    picture: Picture | None = None
    table: Table | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `notices` say what is synthetic or incomplete; `summary` holds the main findings."""

    title: str
    summary: list[str]
    sections: list[Section]
    notices: list[str] = field(default_factory=list)


def draw(
    name: str, says: str, size: tuple[float, float], origin: str, drawings: list[Callable[[Axes], object]]
) -> Picture:
    """A figure of one axis below the other, each drawn by a function, with where it comes from below."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(fname=STYLE):
        figure = Figure(figsize=size)
        axes = figure.subplots(len(drawings), 1, squeeze=False)[:, 0]
        for drawing, axis in zip(drawings, axes, strict=True):
            drawing(axis)
        caption(figure, origin)
        FigureCanvasAgg(figure)
        svg, png = io.BytesIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        figure.savefig(png, format="png", metadata={"Software": None})
    return Picture(name, says, svg.getvalue(), png.getvalue())


def _cell(name: str, value: Any) -> Cell:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
    return Cell(text_of(name, value), number)
