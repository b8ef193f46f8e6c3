"""A bandit that learns during the run how often to replace, and by which ranking."""

from __future__ import annotations

from itertools import product

import numpy as np

from agents.policy import Decision, Observation, Ranking, RunFacts
from traces.errors import InputError

INTERVALS = (1, 4, 16)
RANKINGS: tuple[Ranking, ...] = ("misses", "recent", "degree")
PRIOR_SD = 0.05
"""Prior standard deviation of an arm's reward, as a share of the remote rows."""
NOISE_SD = 0.02
"""Standard deviation of a single trial's reward."""


class Bandit:
    """Thompson sampling with normal rewards (Thompson 1933; Russo et al., A Tutorial on Thompson Sampling, 2018).

    An arm is an interval and a ranking, and is played for TRIAL minibatches; its reward is the share of the remote rows
    that did not have to be fetched, less what replacements fetched. Untried arms are expected to earn the mean reward
    so far.
    """

    def __init__(self, trial: int = 16) -> None:
        if trial < 1:
            raise InputError(f"bandit:{trial} must count at least 1 minibatch a trial")
        self.trial = trial
        self.name = f"bandit:{trial}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Forget all trials; draws come from the seed and the trainer's rank."""
        self._generator = np.random.default_rng((seed, run.rank))
        self._arms = list(product(INTERVALS, RANKINGS))
        self._rewards = np.zeros(len(self._arms))
        self._trials = np.zeros(len(self._arms))
        self._fetched = self._remote = self._minibatches = self._since = 0
        self._arm = self._drawn()

    def decide(self, observation: Observation) -> Decision:
        """Count the window, choose the next arm where a trial is over, and do what the arm says."""
        window = observation.window
        self._fetched += window.fetched_rows
        self._remote += window.remote_rows
        self._minibatches += window.minibatches
        self._since += window.minibatches
        if self._minibatches >= self.trial:
            self._rewards[self._arm] += max(1.0 - self._fetched / max(self._remote, 1), -1.0)
            self._trials[self._arm] += 1
            self._fetched = self._remote = self._minibatches = self._since = 0
            self._arm = self._drawn()
        interval, ranking = self._arms[self._arm]
        due = self._since >= interval
        if due:
            self._since = 0
        return Decision(replace=due, ranking=ranking)

    def _drawn(self) -> int:
        """The arm with the highest reward in one draw from all posteriors."""
        prior = self._rewards.sum() / max(self._trials.sum(), 1)
        precision = 1 / PRIOR_SD**2 + self._trials / NOISE_SD**2
        mean = (prior / PRIOR_SD**2 + self._rewards / NOISE_SD**2) / precision
        return int(np.argmax(self._generator.normal(mean, precision**-0.5)))
