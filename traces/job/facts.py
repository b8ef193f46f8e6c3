"""Facts of one trainer beside its minibatches; written with every epoch, and merged at the end of the run."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, Field


class FeatureUse(BaseModel):
    """Node data that was fetched for all input nodes of a type."""

    name: str
    dtype: str
    row_bytes: int


class TrainerFacts(BaseModel):
    """Facts of one trainer. `features` are by node type and key in the store, `written` the keys that it wrote to
    while it trained; `fanout` has a number a hop, or one for each edge type.
    """

    rank: int
    partition: int
    host: str = ""
    cores: int = 1
    device: str = "cpu"
    model: str = ""
    gradient_bytes: int = 0
    batch_size: int = 1
    fanout: list[int | dict[str, int]] = Field(default_factory=list)
    samplers: int = 0
    features: dict[str, dict[str, FeatureUse]] = Field(default_factory=dict)
    written: set[str] = Field(default_factory=set)
    minibatches: list[int] = Field(default_factory=list)
    finished: bool = False

    def save(self, fragments: Path) -> None:
        """Write them beside the trainer's epochs."""
        path = facts_file(fragments, self.rank)
        partial = path.with_suffix(".partial")
        partial.write_text(self.model_dump_json())
        os.replace(partial, path)

    @classmethod
    def load(cls, fragments: Path, rank: int) -> TrainerFacts:
        """What `save` wrote."""
        return cls.model_validate_json(facts_file(fragments, rank).read_bytes())


def facts_file(fragments: Path, rank: int) -> Path:
    """Where a trainer's facts lie."""
    return fragments / f"rank{rank}.json"


def trainers_in(fragments: Path) -> int:
    """The number of trainers with facts in a folder."""
    return sum(1 for one in fragments.glob("rank*.json") if one.stem.removeprefix("rank").isdigit())


def targets_file(fragments: Path, rank: int, epoch: int) -> Path:
    """The file with the nodes that a trainer's last layer computed in an epoch, and how often."""
    return fragments / f"rank{rank}-epoch{epoch}.targets.npz"
