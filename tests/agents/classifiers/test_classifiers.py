"""Classifiers: one pipeline of features, files that hold numbers only, training by run, service without libraries."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from agents.check import RUN, observations
from agents.classifiers.features import FEATURES, features
from agents.classifiers.file import load, save
from agents.classifiers.training import FITS, accuracy, read, split, train
from agents.policy import Decision, PastDecision
from agents.registry import resolve
from traces.errors import InputError


@pytest.fixture
def judged():
    """Judged decisions of 8 runs: replacing is right where two features say so, with some noise."""
    random = np.random.default_rng(0)
    x = random.normal(size=(600, len(FEATURES))) * 3 + 1
    better = (x[:, 1] + x[:, 4] * (x[:, 2] > 1) + random.normal(size=600) * 0.3) > 1.5
    runs = np.repeat([f"run{i}" for i in range(8)], 75)
    proxy = np.where(random.random(600) < 0.5, better, ~better)
    return pl.DataFrame({"run": runs, "better": better, "proxy": proxy} | dict(zip(FEATURES, x.T, strict=True)))


@pytest.mark.parametrize("kind", FITS)
def test_every_kind_learns_and_survives_its_file(kind, judged, tmp_path):
    kept, held_out = split(judged, seed=0)
    classifier = train(kept, kind, "better", 0, ["judged.parquet"])
    save(classifier, tmp_path / "c.json")
    loaded = load(tmp_path / "c.json")
    assert accuracy(loaded, held_out)[1] > 0.8
    rows = held_out.select(FEATURES).to_numpy()
    assert [loaded.margin(x) for x in rows] == [classifier.margin(x) for x in rows]
    assert loaded.provenance["judged"] == ["judged.parquet"]
    assert loaded.provenance["runs"] == 6


def test_margins_in_service_are_those_of_the_libraries(judged):
    """What numpy computes from the file is what the library that trained it computes."""
    import torch
    import xgboost
    from sklearn.ensemble import RandomForestClassifier

    from agents.classifiers import tabnet_training
    from agents.classifiers.tabnet import sparsemax

    x = judged.select(FEATURES).to_numpy()
    y, weights = judged["better"].to_numpy(), np.ones(len(judged))
    forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=0).fit(x, y, weights)
    mine = FITS["forest"](x, y, weights, 0)
    assert np.allclose([mine.margin(row) for row in x], forest.predict_proba(x)[:, 1] - 0.5)
    options = {"max_depth": 4, "eta": 0.1, "objective": "binary:logistic", "base_score": 0.5, "seed": 0, "nthread": 2}
    booster = xgboost.train(options, xgboost.DMatrix(x, y), num_boost_round=100)
    expected = booster.predict(xgboost.DMatrix(x), output_margin=True)
    mine = FITS["xgboost"](x, y, weights, 0)
    assert np.allclose([mine.margin(row) for row in x], expected, atol=1e-4)
    net = tabnet_training.Net(len(FEATURES)).eval()
    random = np.random.default_rng(0).normal(size=(5, 9))
    expected = tabnet_training.sparsemax(torch.tensor(random)).numpy()
    assert np.allclose([sparsemax(row) for row in random], expected)
    assert net(torch.tensor(x[:4], dtype=torch.float32)).shape == (4,)


def test_runs_are_held_out_whole_and_scaling_knows_only_the_rest(judged):
    kept, held_out = split(judged, seed=1)
    assert not set(kept["run"]) & set(held_out["run"])
    assert len(kept) + len(held_out) == len(judged)
    classifier = train(kept, "logistic", "better", 0, [])
    assert classifier.mean == pytest.approx(kept.select(FEATURES).to_numpy().mean(axis=0).tolist())
    assert classifier.mean != pytest.approx(judged.select(FEATURES).to_numpy().mean(axis=0).tolist())


def test_one_run_cannot_be_split(judged):
    with pytest.raises(InputError, match="of one run only"):
        split(judged.filter(run="run0"), 0)


def test_one_answer_cannot_be_learned(judged):
    with pytest.raises(InputError, match="the same label 'better'"):
        train(judged.filter(better=True), "logistic", "better", 0, [])


def test_a_table_without_judgements_is_refused(tmp_path):
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="holds no judged decisions"):
        read([tmp_path / "x.parquet"])


def test_training_on_the_command_line(judged, tmp_path):
    judged.write_parquet(tmp_path / "judged.parquet")
    command = [sys.executable, "-m", "agents.train", "--judged", tmp_path / "judged.parquet", "--label", "proxy"]
    done = subprocess.run([*command, "--out", tmp_path / "c.json"], capture_output=True, text=True)
    assert "held-out runs" in done.stdout, done.stderr
    assert resolve(f"classifier:{tmp_path / 'c.json'}").make().name == f"classifier:{tmp_path / 'c.json'}"


def test_features_are_finite_and_scale_free():
    for what, observation in observations(RUN):
        assert np.isfinite(features(observation)).all(), what
    _, small = next(observations(RUN))
    window = small.window
    large = replace(
        small,
        run=replace(RUN, capacity_rows=10 * RUN.capacity_rows, halo_nodes=10 * RUN.halo_nodes),
        window=replace(
            window,
            remote_rows=10 * window.remote_rows,
            halo_rows=10 * window.halo_rows,
            hit_rows=10 * window.hit_rows,
            replacement_rows=10 * window.replacement_rows,
        ),
        occupied_rows=10 * small.occupied_rows,
        stale_rows=10 * small.stale_rows,
        candidate_rows=10 * small.candidate_rows,
    )
    assert features(large) == pytest.approx(features(small))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": [*FEATURES[:-1], "luck"]}, "trained on other features .*luck"),
        ({"features": list(FEATURES[::-1])}, "their order"),
        ({"format": "rudder-twin classifier 0"}, "format"),
        ({"code": "import os"}, "code"),
        ({"model": {"kind": "pickle", "data": "gASV"}}, "model"),
        ({"mean": [0.0]}, "mean and scale"),
        ({"scale": [0.0] * len(FEATURES)}, "scales above 0"),
        ({"mean": [float("nan")] * len(FEATURES)}, "mean"),
        ({"model": {"kind": "logistic", "coefficients": [1.0], "intercept": 0.0}}, "don't fit together"),
        (
            {
                "model": {
                    "kind": "trees",
                    "mean": False,
                    "trees": [{"feature": [0], "threshold": [0.0], "left": [0], "right": [0], "value": [0.0]}],
                }
            },
            "doesn't lead down",
        ),
        (
            {
                "model": {
                    "kind": "trees",
                    "mean": False,
                    "trees": [
                        {
                            "feature": [99, -1, -1],
                            "threshold": [0.0] * 3,
                            "left": [1, 0, 0],
                            "right": [2, 0, 0],
                            "value": [0.0] * 3,
                        }
                    ],
                }
            },
            "a feature that there isn't",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_a_clear_error(changes, message, classifier_file):
    with pytest.raises(InputError, match=message):
        resolve(f"classifier:{classifier_file(**changes)}")


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('code of a classifier file ran')",)


@pytest.mark.parametrize(
    "content", [pickle.dumps(Bomb()), b"", b"null", b"[" * 10_000, b"\xff\xfe", b'{"model": 1e999}']
)
def test_no_file_is_run_or_crashes(content, tmp_path):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(InputError, match="is no classifier"):
        resolve(f"classifier:{tmp_path / 'c.json'}")


def test_serving_needs_neither_library_nor_torch(classifier_file):
    code = (
        "import sys; [sys.modules.__setitem__(name, None) for name in ('sklearn', 'xgboost', 'torch')];"
        f"from agents.registry import resolve; print(resolve('classifier:{classifier_file('tabnet')}').make().name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("classifier:"), done.stderr


def test_tuning_moves_towards_what_helped(classifier_file):
    path = classifier_file(model={"kind": "logistic", "coefficients": [0.0] * len(FEATURES), "intercept": -0.01})
    policy = resolve(f"classifier:{path},tune=0.5").make()
    policy.reset(RUN, 0)
    _, observation = next(observations(RUN))
    assert not policy.decide(observation).replace
    worse = replace(observation.window, hit_rows=observation.window.hit_rows // 2)
    past = PastDecision(minibatch=1, decision=Decision(replace=False), before=observation.window, after=worse)
    assert observation.window.hit_rows >= 0
    falling = replace(past, before=replace(observation.window, hit_rows=500), after=replace(worse, hit_rows=100))
    assert policy.decide(replace(observation, history=(falling,))).replace  # skipping hurt: so replace
    policy.reset(RUN, 0)
    assert not policy.decide(observation).replace


def test_only_a_logistic_regression_can_be_tuned(classifier_file):
    with pytest.raises(InputError, match="needs a logistic regression"):
        resolve(f"classifier:{classifier_file('mlp')},tune=0.1")


def test_files_are_json(classifier_file):
    assert json.loads(classifier_file().read_text())["format"] == "rudder-twin classifier 1"
