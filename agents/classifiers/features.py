"""A classifier's features of an observation: the same in training and in inference.

All are shares or ratios, so that a model trained on one graph can be used on another. (Rudder's public code uses
absolute counts, and other features in inference than in training.)
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.policy import Observation, PastDecision

FEATURES = (
    "progress",
    "hit_rate",
    "hit_rate_remote",
    "hit_rate_change",
    "replacement_share",
    "stall_share",
    "occupied_share",
    "stale_share",
    "candidates_per_slot",
    "rows_per_slot",
    "capacity_per_halo",
    "minibatches_since_replacement",
    "replaced_last",
    "replaced_share_of_history",
)
"""Names, in the order of the vector. A classifier's file holds them too."""


def features(observation: Observation) -> NDArray[np.float64]:
    """The vector of `FEATURES`, shape (len(FEATURES),), finite for every valid observation."""
    run, window, history = observation.run, observation.window, observation.history
    capacity = max(run.capacity_rows, 1)
    replaced = [past for past in history if past.decision.replace]
    since = observation.minibatch - replaced[-1].minibatch if replaced else observation.minibatch + 1
    return np.array(
        [
            observation.minibatch / run.minibatches,
            observation.hit_rate,
            window.hit_rate_remote,
            hit_rate_change(history[-1], run.universe) if history else 0.0,
            window.replacement_rows / max(window.remote_rows, 1),
            min(window.stall_s / window.step_s, 1.0) if window.step_s else 0.0,
            observation.occupied_rows / capacity,
            observation.stale_rows / capacity,
            math.log1p(observation.candidate_rows / capacity),
            math.log1p(window.halo_rows / window.minibatches / capacity),
            min(capacity / max(run.halo_nodes, 1), 1.0),
            math.log1p(since),
            float(bool(history) and history[-1].decision.replace),
            len(replaced) / max(len(history), 1),
        ]
    )


def hit_rate_change(past: PastDecision, universe: str) -> float:
    """How a decision moved the hit rate over cacheable rows; 0 as long as that is not known."""
    if past.after is None:
        return 0.0
    name = "hit_rate_halo" if universe == "halo" else "hit_rate_remote"
    return float(getattr(past.after, name) - getattr(past.before, name))
