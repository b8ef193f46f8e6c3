"""Two thresholds instead of one, so that noise around one of them doesn't switch replacing on and off."""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError


class Hysteresis:
    """Replace after every window until the hit rate reaches HIGH, then rest until it falls below LOW.

    The hit rate is `Observation.hit_rate`, over the rows that the buffer may hold.
    """

    def __init__(self, low: float, high: float) -> None:
        if not 0.0 <= low <= high <= 1.0:
            raise InputError(f"hysteresis:{low},{high} needs 0 <= LOW <= HIGH <= 1")
        self.low, self.high = low, high
        self.name = f"hysteresis:{low},{high}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Begin by replacing."""
        self._replacing = True

    def decide(self, observation: Observation) -> Decision:
        """Compare with HIGH while replacing, with LOW while resting."""
        self._replacing = observation.hit_rate < (self.high if self._replacing else self.low)
        return Decision(replace=self._replacing)
