"""Ranking what was run, with intervals.

An interval says how far a figure depends on which epochs the captured run happened to have: epochs are drawn with
replacement (percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993), the same ones in every
cell of a trace, for the subject, for DistDGL's own and for the best. It says nothing of how far the simulator is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.caches.registry import cache_class
from sim.verifier.records import Record

DRAWS, SEED, CONFIDENCE = 2000, 0, 0.95

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Standing:
    """A subject's place. `speedup` is how many times as fast epochs are as DistDGL's own, the geometric mean over all
    cells, `by_trace` over those of a trace; `behind` is by which share it is less than that of the first. `place` is
    None for caches that know what comes, which no live run can have."""

    record: Record
    place: int | None
    speedup: float
    interval: Interval
    behind: float
    behind_interval: Interval
    by_trace: dict[str, float]
    fetched_over_min: float
    hit_rate_remote: float

    @property
    def tied(self) -> bool:
        """Whether the interval of what it is behind the first holds 0."""
        return self.behind_interval[0] <= 0


def standings(records: Sequence[Record]) -> list[Standing]:
    """All records that were not refused, the best first; caches that know what comes stand where they would."""
    scored = [one for one in records if one.cells]
    if not scored:
        return []
    draws = {one.label + one.sha256: _drawn(one) for one in scored}
    means = {name: float(np.mean([np.log(cell.speedup) for cell in one.cells])) for name, one in _named(scored)}
    ordered = sorted(_named(scored), key=lambda one: (-means[one[0]], one[0]))
    first = next((name for name, one in ordered if not _foresees(one)), ordered[0][0])
    found, place = [], 0
    for name, one in ordered:
        foresees = _foresees(one)
        place += not foresees
        behind = 1 - np.exp(draws[name] - draws[first])
        found.append(
            Standing(
                one,
                None if foresees else place,
                float(np.exp(means[name])),
                _interval(np.exp(draws[name])),
                float(1 - np.exp(means[name] - means[first])),
                _interval(behind),
                _by_trace(one),
                float(np.mean([cell.fetched_rows / cell.min_fetched_rows for cell in one.cells])),
                float(np.mean([cell.hit_rate_remote for cell in one.cells])),
            )
        )
    return found


def _named(records: Sequence[Record]) -> list[tuple[str, Record]]:
    return [(one.label + one.sha256, one) for one in records]


def _foresees(record: Record) -> bool:
    return not record.sha256 and " over " not in record.label and not cache_class(record.label).live


def _by_trace(record: Record) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for one in record.cells:
        found.setdefault(one.cell.trace, []).append(np.log(one.speedup))
    return {name: float(np.exp(np.mean(logs))) for name, logs in found.items()}


def _drawn(record: Record) -> NDArray[np.float64]:
    """Logarithms of the mean speed-up over draws of epochs: shape (draws,)."""
    total = np.zeros(DRAWS)
    indices: dict[str, NDArray[np.int64]] = {}
    for one in record.cells:
        epochs = len(one.epochs_s)
        if one.cell.trace not in indices:
            generator = np.random.default_rng((SEED, len(indices)))
            indices[one.cell.trace] = generator.integers(0, epochs, (DRAWS, epochs))
        drawn = indices[one.cell.trace]
        total += np.log(np.array(one.none_s)[drawn].sum(1)) - np.log(np.array(one.epochs_s)[drawn].sum(1))
    return total / len(record.cells)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
