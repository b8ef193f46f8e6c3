"""Replace when the buffer serves too little."""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError


class Threshold:
    """Replace all stale rows when the last window's hit rate is below H.

    The hit rate is `Observation.hit_rate`, over the rows that the buffer may hold.
    """

    def __init__(self, hit_rate: float) -> None:
        if not 0.0 <= hit_rate <= 1.0:
            raise InputError(f"threshold:{hit_rate} is no hit rate: it must be from 0 to 1")
        self.hit_rate = hit_rate
        self.name = f"threshold:{hit_rate}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Nothing to prepare."""

    def decide(self, observation: Observation) -> Decision:
        """Compare."""
        return Decision(replace=observation.hit_rate < self.hit_rate)
