"""Training classifiers on judged decisions: one table, one split, one scaling, six kinds of models."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.classifiers.features import FEATURES
from agents.classifiers.file import ClassifierFile
from agents.classifiers.models import Dense, Kernel, Layer, Linear, Model, Tree, Trees
from traces.errors import InputError

COLUMNS = ("run", "better", "proxy", *FEATURES)
"""Of a table of judged decisions: which run a row is of, the labels (True: replace), and the features."""

HELD_OUT = 0.25
"""Share of the runs that training doesn't see."""

Array = NDArray[np.float64]
Fit = Callable[[Array, NDArray[np.bool_], Array, int], Model]


def read(paths: list[Path]) -> pl.DataFrame:
    """Judged decisions of all files in one table. Raises `InputError` for a file that holds none."""
    return pl.concat([_read(path) for path in paths])


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=list(COLUMNS))
    except (OSError, pl.exceptions.PolarsError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} holds no judged decisions ({line}): make them with python -m sim.judge") from None


def split(data: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to train on and those held out, by run. Raises `InputError` where there are fewer than two runs."""
    runs = np.array(sorted(data["run"].unique()))
    if len(runs) < 2:
        raise InputError("the judged decisions are of one run only: judge several (--seeds) and give them all")
    np.random.default_rng(seed).shuffle(runs)
    held_out = runs[: max(1, round(HELD_OUT * len(runs)))].tolist()
    return data.filter(~pl.col("run").is_in(held_out)), data.filter(pl.col("run").is_in(held_out))


def train(data: pl.DataFrame, model: str, label: str, seed: int, sources: list[str]) -> ClassifierFile:
    """A classifier out of the rows of `data` that have the label; its scaling comes from these rows alone.

    Both classes have the same total weight. Raises `InputError` where all rows have the same answer, or a library is
    missing.
    """
    data = data.drop_nulls(label)
    x, y = data.select(FEATURES).to_numpy().astype(np.float64), data[label].to_numpy()
    if len(np.unique(y)) < 2:
        raise InputError(f"all {len(y)} judged decisions have the same label {label!r}: judge runs that differ more")
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale < 1e-9] = 1.0
    share = y.mean()
    weights = np.where(y, 0.5 / share, 0.5 / (1.0 - share))
    try:
        fitted = FITS[model]((x - mean) / scale, y, weights, seed)
    except ModuleNotFoundError as error:
        extra = "live" if error.name == "torch" else "classifiers"
        raise InputError(
            f"--model {model} needs the package {error.name!r}: pip install 'rudder-twin[{extra}]'"
        ) from None
    return ClassifierFile(
        features=list(FEATURES),
        mean=mean.tolist(),
        scale=scale.tolist(),
        provenance={
            "model": model,
            "label": label,
            "judged": sources,
            "runs": data["run"].n_unique(),
            "rows": len(data),
            "replace_share": float(share),
            "seed": seed,
            "numpy": version("numpy"),
        },
        model=fitted,
    )


def accuracy(classifier: ClassifierFile, data: pl.DataFrame) -> tuple[float, float, float]:
    """Accuracy, balanced accuracy, and the share of rows on which replacing is the better branch."""
    truth = data["better"].to_numpy()
    answers = np.array([classifier.margin(x) > 0 for x in data.select(FEATURES).to_numpy().astype(np.float64)])
    right = answers == truth
    recalls = [right[truth == answer].mean() for answer in np.unique(truth)]
    return float(right.mean()), float(np.mean(recalls)), float(truth.mean())


def _logistic(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(max_iter=1000, random_state=seed).fit(x, y, weights)
    return Linear(coefficients=fitted.coef_[0].tolist(), intercept=float(fitted.intercept_[0]))


def _svm(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    from sklearn.svm import SVC

    gamma = 1.0 / x.shape[1]
    fitted = SVC(kernel="rbf", gamma=gamma, random_state=seed).fit(x, y, weights)
    return Kernel(
        support=fitted.support_vectors_.tolist(),
        weights=fitted.dual_coef_[0].tolist(),
        intercept=float(fitted.intercept_[0]),
        gamma=gamma,
    )


def _mlp(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    from sklearn.neural_network import MLPClassifier

    fitted = MLPClassifier((32, 16), max_iter=500, random_state=seed).fit(x, y, weights)
    layers = zip(fitted.coefs_, fitted.intercepts_, strict=True)
    return Dense(layers=[Layer(weights=w.tolist(), bias=b.tolist()) for w, b in layers])


def _forest(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    from sklearn.ensemble import RandomForestClassifier

    fitted = RandomForestClassifier(100, min_samples_leaf=5, random_state=seed).fit(x, y, weights)
    trees = []
    for tree in (one.tree_ for one in fitted.estimators_):
        replace = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        trees.append(_tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, replace - 0.5))
    return Trees(trees=trees, mean=True)


def _xgboost(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    import json

    import xgboost

    options = {
        "max_depth": 4,
        "eta": 0.1,
        "objective": "binary:logistic",
        "base_score": 0.5,
        "seed": seed,
        "nthread": 2,
    }
    booster = xgboost.train(options, xgboost.DMatrix(x, y, weight=weights), num_boost_round=100)
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    trees = []
    for tree in learner["gradient_booster"]["model"]["trees"]:
        left = np.array(tree["left_children"])
        splits = np.array(tree["split_conditions"], np.float32)
        leaf = left < 0
        # XGBoost goes left below a threshold, `Tree` at or below it: so the next smaller number is taken
        before = np.nextafter(splits, np.float32(-np.inf))
        feature = np.where(leaf, -1, tree["split_indices"])
        right = np.array(tree["right_children"])
        trees.append(_tree(feature, np.where(leaf, 0.0, before), left, right, np.where(leaf, splits, 0.0)))
    return Trees(trees=trees, mean=False)


def _tabnet(x: Array, y: NDArray[np.bool_], weights: Array, seed: int) -> Model:
    from agents.classifiers.tabnet_training import train_tabnet

    return train_tabnet(x, y, weights, seed)


def _tree(feature: Any, threshold: Any, left: Any, right: Any, value: Any) -> Tree:
    return Tree(
        feature=np.maximum(feature, -1).tolist(),
        threshold=np.asarray(threshold, np.float64).tolist(),
        left=np.asarray(left).tolist(),
        right=np.asarray(right).tolist(),
        value=np.asarray(value, np.float64).tolist(),
    )


FITS: dict[str, Fit] = {
    "logistic": _logistic,
    "forest": _forest,
    "xgboost": _xgboost,
    "svm": _svm,
    "mlp": _mlp,
    "tabnet": _tabnet,
}
