"""A live trainer's decisions and the memory of what it sampled ahead, one file an epoch each, and the time of filling
its buffer."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pydantic import TypeAdapter

from agents.policy_driver import LoggedDecision
from replay.buffered import BufferedStore

ENTRIES = TypeAdapter(list[LoggedDecision])


def fill_file(fragments: Path, rank: int) -> Path:
    """The file with the seconds that filling a trainer's buffer took."""
    return fragments / f"rank{rank}-fill.json"


class EpochLog:
    """Writes one trainer's decisions of each epoch, and the memory of what it sampled ahead so far; the last file of
    decisions also has an answer that came too late."""

    def __init__(self, fragments: Path, rank: int, epochs: int) -> None:
        self._fragments, self._rank, self._epochs = fragments, rank, epochs
        self._written = 0

    def end_epoch(self, epoch: int, store: BufferedStore) -> None:
        """Write the decisions since the last call."""
        driver = store.driver
        _write(_sampled_file(self._fragments, self._rank, epoch), json.dumps(store.peak_sampled_bytes).encode())
        log = driver.close() if epoch + 1 == self._epochs else driver.log
        _write(_file(self._fragments, self._rank, epoch), ENTRIES.dump_json(log[self._written :]))
        self._written = len(log)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def read_decisions(fragments: Path, rank: int, epochs: int) -> list[LoggedDecision]:
    """The decisions of a trainer's first `epochs` epochs."""
    return [
        entry for epoch in range(epochs) for entry in ENTRIES.validate_json(_file(fragments, rank, epoch).read_bytes())
    ]


def read_sampled_bytes(fragments: Path, rank: int, epochs: int) -> int:
    """The most memory that minibatches of a trainer took that were sampled ahead, in its first `epochs` epochs."""
    return int(json.loads(_sampled_file(fragments, rank, epochs - 1).read_bytes()))


def _sampled_file(fragments: Path, rank: int, epoch: int) -> Path:
    return fragments / f"rank{rank}-epoch{epoch}.sampled.json"


def _file(fragments: Path, rank: int, epoch: int) -> Path:
    return fragments / f"rank{rank}-epoch{epoch}.decisions.json"


def count_decisions(fragments: Path, epoch: int) -> int:
    """Decisions of all trainers in one epoch."""
    return sum(
        len(ENTRIES.validate_json(path.read_bytes())) for path in fragments.glob(f"rank*-epoch{epoch}.decisions.json")
    )
