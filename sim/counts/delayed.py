"""Any policy with the latency of a slower one: a what-if for decisions by a language model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.policy import Decision, Observation, Policy, RunFacts


class Delayed:
    """Decides as `policy` does, with a drawn latency in the place of that policy's own.

    Latencies are log-normal with median `latency_s`; `spread` is the standard deviation of their logarithm. Equal seeds
    give equal latencies.
    """

    def __init__(self, policy: Policy, latency_s: float, spread: float, seeds: tuple[int, int]) -> None:
        self.name = policy.name
        self._policy, self._latency_s, self._spread, self._seeds = policy, latency_s, spread, seeds

    def reset(self, run: RunFacts, seed: int) -> None:
        """Begin anew, with the first time."""
        self._policy.reset(run, seed)
        self._rng = np.random.default_rng(self._seeds)

    def decide(self, observation: Observation) -> Decision:
        """The decision of the policy, with the drawn latency."""
        latency_s = self._latency_s * float(np.exp(self._spread * self._rng.standard_normal()))
        return replace(self._policy.decide(observation), latency_s=latency_s)
