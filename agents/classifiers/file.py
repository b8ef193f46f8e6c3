"""A classifier on disk: JSON with the features' names, their scaling, where it comes from, and the model's numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from agents.classifiers.features import FEATURES
from agents.classifiers.models import Data, Model, Row, Trees, Vector
from agents.files import read_file
from traces.errors import InputError
from traces.output import atomic_write


class ClassifierFile(Data):
    """`mean` and `scale` standardise the features as in training; `provenance` says on what and how it was trained."""

    format: Literal["rudder-twin classifier 1"] = "rudder-twin classifier 1"
    features: list[str]
    mean: Row
    scale: Row
    provenance: dict[str, str | int | float | list[str]]
    model: Model

    def margin(self, x: Vector) -> float:
        """Above 0 for "replace", for a vector of `features`."""
        return self.model.margin(self.standardised(x))

    def standardised(self, x: Vector) -> Vector:
        """The features as the model was trained on them."""
        return np.asarray((x - self.mean) / self.scale)


def save(classifier: ClassifierFile, path: Path | str) -> None:
    """Write the file."""
    with atomic_write(Path(path)) as partial:
        partial.write_text(classifier.model_dump_json(indent=1) + "\n")


def load(path: Path) -> ClassifierFile:
    """Read a file. Raises `InputError` for anything that is not a classifier for today's features."""
    try:
        found = ClassifierFile.model_validate_json(read_file("classifier", str(path)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path} is no classifier: {where}: {first['msg']}") from None
    if found.features != list(FEATURES):
        differ = sorted(set(found.features) ^ set(FEATURES)) or ["their order"]
        raise InputError(f"{path} was trained on other features ({', '.join(differ)}): train it anew")
    if not len(found.mean) == len(found.scale) == len(FEATURES) or min(found.scale) <= 0:
        raise InputError(f"{path} is no classifier: mean and scale need {len(FEATURES)} values, scales above 0")
    if isinstance(found.model, Trees) and any(max(tree.feature) >= len(FEATURES) for tree in found.model.trees):
        raise InputError(f"{path} is no classifier: a tree asks for a feature that there isn't")
    try:
        margin = found.margin(np.zeros(len(FEATURES)))
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is no classifier: its numbers don't fit together ({error})") from None
    if not np.isfinite(margin):
        raise InputError(f"{path} is no classifier: it gives {margin}")
    return found
