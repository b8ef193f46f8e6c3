"""The score of a policy or a ranking function in a file: `evaluate(path)`, in the shape that OpenEvolve takes.

The score is how many times as fast epochs are as DistDGL's own, without prefetching: the geometric mean over all cells.
It is 1 for what changes nothing and 0 for a candidate that is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.runs.twin import Twin
from sim.verifier.candidate import Candidate, Subject
from sim.verifier.cells import SHIPPED, Cell, cells
from sim.verifier.confinement import Limits
from sim.verifier.process import Refused, Templates

EARLY_SHARE = 0.1
"""The part of the epochs that the first stage simulates: it finds the ranks of the whole (`benchmarks.early`)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a candidate: numbers, and texts for whoever writes the next one; fields as OpenEvolve has them.

    `metrics`: `combined_score`; `speedup_TRACE`, the same over the cells of one trace; `fetched_over_min`, the rows
    fetched over the fewest possible, and `hit_rate_remote`, means over all cells. A refused candidate has
    `combined_score` 0 and nothing else. `artifacts`: `cells`, a line a cell; `refused`, why; `printed`, what the
    candidate printed. The same file has the same metrics.
    """

    metrics: dict[str, float]
    artifacts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one cell gives: seconds an epoch of the subject and of DistDGL without prefetching, and its counts."""

    cell: Cell
    epochs_s: tuple[float, ...]
    none_s: tuple[float, ...]
    fetched_rows: int
    min_fetched_rows: int
    hit_rate_remote: float

    @property
    def speedup(self) -> float:
        """How many times as fast the mean epoch is."""
        return sum(self.none_s) / sum(self.epochs_s)


def measure(subject: Subject, twin: Twin, cell: Cell) -> Measured:
    """Run a subject in a cell. Raises `Refused`, and `InputError` for what can't be run."""
    run = subject.run(twin, cell)
    return Measured(
        cell,
        tuple(run.epochs["epoch_s"].to_list()),
        tuple(run.none.epochs["epoch_s"].to_list()),
        run.row["fetched_rows"],
        run.row["min_fetched_rows"],
        run.row["hit_rate_remote"],
    )


def speedup(measured: Sequence[Measured]) -> float:
    """The geometric mean over cells."""
    return math.exp(sum(math.log(one.speedup) for one in measured) / len(measured))


class Verifier:
    """Scores candidates over traces, and over `hidden` ones that a search is not told of.

    No candidate can read a trace: its processes open no file (`sim.verifier.confinement`), and get what a trainer would
    know at that moment. `over` is the buffer that policies decide for. Traces are opened when they are first needed.
    """

    def __init__(
        self,
        traces: Iterable[Path | str] = SHIPPED,
        hidden: Iterable[Path | str] = (),
        *,
        buffers: tuple[str, ...] = ("15%",),
        scenarios: tuple[str, ...] = ("steady", "congested"),
        over: str = "score",
        limits: Limits | None = None,
    ) -> None:
        self.traces, self.hidden = tuple(map(Path, traces)), tuple(map(Path, hidden))
        self.buffers, self.scenarios, self.over = buffers, scenarios, over
        self.limits = limits or Limits()
        self._twins: dict[Path, Twin] = {}
        self._templates: Templates | None = None

    def evaluate_stage1(self, path: Path | str) -> Evaluation:
        """A tenth of the epochs, in the first scenario only."""
        return self._evaluate(path, self.traces, self.scenarios[:1], EARLY_SHARE)

    def evaluate(self, path: Path | str) -> Evaluation:
        """All epochs, buffers and scenarios. Raises `InputError` for no file, and where nothing can be confined."""
        return self._evaluate(path, self.traces, self.scenarios)

    def evaluate_hidden(self, path: Path | str) -> Evaluation:
        """The same over the hidden traces: for the end of a search, and not for its way."""
        return self._evaluate(path, self.hidden, self.scenarios)

    def twin(self, path: Path) -> Twin:
        """A trace in memory."""
        if path not in self._twins:
            self._twins[path] = Twin.open(path, {"remote"})
        return self._twins[path]

    def _evaluate(
        self, path: Path | str, traces: Sequence[Path], scenarios: tuple[str, ...], share: float = 1.0
    ) -> Evaluation:
        self._templates = self._templates or Templates()
        candidate = Candidate(path, self.over, self.limits, self._templates)
        measured: list[Measured] = []
        refused = ""
        try:
            for trace in traces:
                twin = self.twin(trace)
                if share < 1:
                    twin = twin.head(math.ceil(share * twin.header.epochs))
                measured += [measure(candidate, twin, cell) for cell in cells((trace.stem,), self.buffers, scenarios)]
        except Refused as why:
            refused = f"{why.reason}: {why}"
        artifacts = {"printed": candidate.printed} if candidate.printed else {}
        if refused:
            return Evaluation({"combined_score": 0.0}, artifacts | {"refused": refused})
        return Evaluation(_metrics(measured), artifacts | {"cells": "\n".join(map(_line, measured))})


def _metrics(measured: Sequence[Measured]) -> dict[str, float]:
    names = dict.fromkeys(one.cell.trace for one in measured)
    by_trace = {name: speedup([one for one in measured if one.cell.trace == name]) for name in names}
    return {
        "combined_score": speedup(measured),
        **{f"speedup_{name}": value for name, value in by_trace.items()},
        "fetched_over_min": sum(one.fetched_rows / one.min_fetched_rows for one in measured) / len(measured),
        "hit_rate_remote": sum(one.hit_rate_remote for one in measured) / len(measured),
    }


def _line(one: Measured) -> str:
    cell = one.cell
    return (
        f"{cell.trace}, buffer {cell.buffer}, {cell.scenario}: {one.speedup:.4f} times as fast as DistDGL, "
        f"{one.hit_rate_remote:.1%} hits, {one.fetched_rows:,} rows fetched, {one.min_fetched_rows:,} at the least"
    )


_VERIFIER = Verifier()


def evaluate(path: Path | str) -> Evaluation:
    """Score a file over the shipped traces, with a buffer of 15 %, steady and congested."""
    return _VERIFIER.evaluate(path)
