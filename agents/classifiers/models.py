"""Trained models as data: numbers in JSON, and the few lines of numpy that evaluate them.

Inference needs neither the library that trained a model nor code from its file. Every model maps standardised features,
shape (features,), to a margin: above 0 means "replace".
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from agents.classifiers.tabnet import TabNet

Vector = NDArray[np.float64]
Row = list[float]


class Data(BaseModel):
    """Validated strictly: all numbers are finite, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


class Linear(Data):
    """Logistic regression: the margin is its log odds."""

    kind: Literal["logistic"] = "logistic"
    coefficients: Row
    intercept: float

    def margin(self, x: Vector) -> float:
        """coefficients . x + intercept."""
        return float(np.dot(self.coefficients, x) + self.intercept)

    def tuned(self, x: Vector, replace: bool, rate: float) -> Linear:
        """After one step of gradient descent on the logistic loss."""
        step = rate * (float(replace) - 1.0 / (1.0 + np.exp(-np.clip(self.margin(x), -30.0, 30.0))))
        moved = np.asarray(self.coefficients) + step * x
        return self.model_copy(update={"coefficients": moved.tolist(), "intercept": self.intercept + step})


class Kernel(Data):
    """A support vector machine with a Gaussian kernel."""

    kind: Literal["svm"] = "svm"
    support: list[Row]
    weights: Row
    intercept: float
    gamma: float = Field(gt=0)

    def margin(self, x: Vector) -> float:
        """Signed distance in the kernel's space."""
        squared = ((np.asarray(self.support) - x) ** 2).sum(axis=1)
        return float(np.dot(self.weights, np.exp(-self.gamma * squared)) + self.intercept)


class Layer(Data):
    """One dense layer; `weights` has a row an input."""

    weights: list[Row]
    bias: Row


class Dense(Data):
    """A multi-layer perceptron with ReLU between layers; the last layer has one output."""

    kind: Literal["mlp"] = "mlp"
    layers: list[Layer] = Field(min_length=1)

    def margin(self, x: Vector) -> float:
        """The last layer's output: log odds."""
        for layer in self.layers[:-1]:
            x = np.maximum(x @ np.asarray(layer.weights) + layer.bias, 0.0)
        return float((x @ np.asarray(self.layers[-1].weights) + self.layers[-1].bias)[0])


class Tree(Data):
    """One decision tree. Node i goes left where x[feature] <= threshold; feature -1 marks a leaf with a value."""

    feature: list[int]
    threshold: Row
    left: list[int]
    right: list[int]
    value: Row

    @model_validator(mode="after")
    def _leads_down(self) -> Tree:
        nodes = len(self.feature)
        if not nodes or {len(self.threshold), len(self.left), len(self.right), len(self.value)} != {nodes}:
            raise ValueError("a tree's columns differ in length")
        for node, (feature, *children) in enumerate(zip(self.feature, self.left, self.right, strict=True)):
            if feature >= 0 and not all(node < child < nodes for child in children):
                raise ValueError(f"node {node} of a tree doesn't lead down")
        return self

    def at(self, x: Vector) -> float:
        """The value of the leaf that x falls into."""
        node = 0
        while self.feature[node] >= 0:
            goes_left = x[self.feature[node]] <= self.threshold[node]
            node = self.left[node] if goes_left else self.right[node]
        return self.value[node]


class Trees(Data):
    """A random forest (leaves hold the share of "replace", less a half) or boosted trees (log odds, summed)."""

    kind: Literal["trees"] = "trees"
    trees: list[Tree] = Field(min_length=1)
    base: float = 0.0
    mean: bool

    def margin(self, x: Vector) -> float:
        """Mean or sum over all trees."""
        rounded = x.astype(np.float32).astype(np.float64)  # trees are trained on float32, and split between two of them
        total = sum(tree.at(rounded) for tree in self.trees)
        return self.base + (total / len(self.trees) if self.mean else total)


Model = Annotated[Linear | Kernel | Dense | Trees | TabNet, Field(discriminator="kind")]
