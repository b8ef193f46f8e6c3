"""The random gate: the control that an adaptive policy has to beat at the same rate of replacements."""

from __future__ import annotations

import numpy as np

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError


class RandomGate:
    """Replace all stale rows with a fixed probability, whatever was observed.

    Draws from a generator of its own, seeded with the run's seed and the trainer's rank: trainers that share a seed
    decide independently.
    """

    def __init__(self, probability: float) -> None:
        if not 0.0 <= probability <= 1.0:
            raise InputError(f"random:{probability} is no probability: it must be from 0 to 1")
        self.probability = probability
        self.name = f"random:{probability}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Start the sequence of draws anew."""
        self._generator = np.random.default_rng((seed, run.rank))

    def decide(self, observation: Observation) -> Decision:
        """Draw once."""
        return Decision(replace=bool(self._generator.random() < self.probability))
