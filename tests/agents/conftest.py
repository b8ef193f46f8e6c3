"""What the tests of policies share: a run, and observations of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents.policy import Observation, RunFacts, WindowCounts


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
