"""What candidates are judged by: runs over traces, with buffers of several sizes, while several things go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import traces
from sim.workload.stream import UniverseKind

SHIPPED = tuple(Path(traces.__file__).parent / f"{name}.parquet" for name in ("debian", "papers100m"))
"""The traces that come with the project."""

SCENARIOS: dict[str, dict[str, Any] | None] = {
    "steady": None,
    "congested": {"congestion": [{"start_s": 4.0, "end_s": 8.0, "repeat_s": 8.0, "factor": 0.25}]},
    "slow server": {"slow_server": [{"host": "machine1", "factor": 0.25}]},
}
"""Congested: all links carry a quarter of their rate for 4 s of every 8 s. Slow server: the feature servers of one host
take four times as long."""

BUFFERS = ("5%", "15%", "25%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run: a trace by its name, a buffer, and a scenario by its name."""

    trace: str
    buffer: str = "15%"
    scenario: str = "steady"
    universe: UniverseKind = "remote"

    @property
    def options(self) -> dict[str, Any]:
        """What `Twin.simulate` is told."""
        return {"buffer": self.buffer, "universe": self.universe, "scenario": SCENARIOS[self.scenario]}


def cells(
    names: tuple[str, ...], buffers: tuple[str, ...] = BUFFERS, scenarios: tuple[str, ...] = tuple(SCENARIOS)
) -> list[Cell]:
    """All combinations, scenarios of one trace and buffer together, as they share what is fetched."""
    return [
        Cell(trace=trace, buffer=buffer, scenario=scenario)
        for trace, buffer, scenario in product(names, buffers, scenarios)
    ]
