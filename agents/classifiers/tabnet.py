"""TabNet (Arik and Pfister, AAAI 2021), compact: sequential attention over features, by sparsemax.

Inference in numpy over saved numbers; training in `agents.classifiers.tabnet_training`. Batch normalisation is folded
into the layers after training. Left out, as on a dozen features it matters little: ghost batches and the sparsity loss.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Array = NDArray[np.float64]
ROOT_HALF = 0.5**0.5
RELAXATION = 1.5
"""How strongly a feature may be attended to again (gamma in the paper)."""


class Affine(BaseModel):
    """x @ weights + bias."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    weights: list[list[float]]
    bias: list[float]

    def __call__(self, x: Array) -> Array:
        """Shape (inputs,) to shape (outputs,)."""
        return np.asarray(x @ np.asarray(self.weights) + self.bias)


class TabNet(BaseModel):
    """`shared` and `own[step]` are gated layers with twice as many outputs as they keep, `attention[step]` makes the
    mask of a step, `output` the margin out of what the steps decided. The first of `own` only prepares the attention.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["tabnet"] = "tabnet"
    width: int = Field(gt=0)
    shared: Affine
    own: list[Affine] = Field(min_length=2)
    attention: list[Affine]
    output: Affine

    def margin(self, x: Array) -> float:
        """Log odds of "replace"."""
        prior, decided = np.ones_like(x), np.zeros(self.width)
        _, attended = self._transform(x, self.own[0])
        for own, attention in zip(self.own[1:], self.attention, strict=True):
            mask = sparsemax(attention(attended) * prior)
            prior = prior * (RELAXATION - mask)
            step, attended = self._transform(x * mask, own)
            decided = decided + np.maximum(step, 0.0)
        return float(self.output(decided)[0])

    def _transform(self, x: Array, own: Affine) -> tuple[Array, Array]:
        hidden = gated(self.shared(x))
        hidden = (hidden + gated(own(hidden))) * ROOT_HALF
        return hidden[: self.width], hidden[self.width :]


def gated(x: Array) -> Array:
    """A gated linear unit: one half of the outputs times the sigmoid of the other."""
    value, gate = np.split(x, 2)
    return np.asarray(value / (1.0 + np.exp(-np.clip(gate, -60.0, 60.0))))


def sparsemax(x: Array) -> Array:
    """The point of the simplex that is nearest to x (Martins and Astudillo, ICML 2016)."""
    ordered = np.sort(x)[::-1]
    total = np.cumsum(ordered)
    kept = np.count_nonzero(1.0 + np.arange(1, len(x) + 1) * ordered > total)
    return np.asarray(np.maximum(x - (total[kept - 1] - 1.0) / kept, 0.0))
