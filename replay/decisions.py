"""A live trainer's decisions, one file an epoch, and the time of filling its buffer."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import TypeAdapter

from agents.policy_driver import LoggedDecision, PolicyDriver

ENTRIES = TypeAdapter(list[LoggedDecision])


def fill_file(fragments: Path, rank: int) -> Path:
    """The file with the seconds that filling a trainer's buffer took."""
    return fragments / f"rank{rank}-fill.json"


class DecisionLog:
    """Writes one trainer's decisions of each epoch; the last file also has an answer that came too late."""

    def __init__(self, fragments: Path, rank: int, epochs: int) -> None:
        self._fragments, self._rank, self._epochs = fragments, rank, epochs
        self._written = 0

    def end_epoch(self, epoch: int, driver: PolicyDriver) -> None:
        """Write the decisions since the last call."""
        log = driver.close() if epoch + 1 == self._epochs else driver.log
        path = _file(self._fragments, self._rank, epoch)
        partial = path.with_suffix(".partial")
        partial.write_bytes(ENTRIES.dump_json(log[self._written :]))
        os.replace(partial, path)
        self._written = len(log)


def read_decisions(fragments: Path, rank: int, epochs: int) -> list[LoggedDecision]:
    """The decisions of a trainer's first `epochs` epochs."""
    return [
        entry for epoch in range(epochs) for entry in ENTRIES.validate_json(_file(fragments, rank, epoch).read_bytes())
    ]


def _file(fragments: Path, rank: int, epoch: int) -> Path:
    return fragments / f"rank{rank}-epoch{epoch}.decisions.json"


def count_decisions(fragments: Path, epoch: int) -> int:
    """Decisions of all trainers in one epoch."""
    return sum(
        len(ENTRIES.validate_json(path.read_bytes())) for path in fragments.glob(f"rank*-epoch{epoch}.decisions.json")
    )
