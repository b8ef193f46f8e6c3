"""Replace when that is expected to save more time than it costs."""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError

WEIGHT = 0.25
"""Weight of the newest figure in the moving average."""


class CostBenefit:
    """A cost-benefit rule over HORIZON minibatches.

    Replaces if benefit >= cost. The benefit is the drop from the best hit rate since the last replacement to the
    present one, times the remote rows of the next HORIZON minibatches (or of those left), times the usual seconds a
    row: those of the cost model (`RunFacts.row_s`), or without one the mean stall a fetched row so far. The cost is the
    moving average of a replacement's rows, times the stall a fetched row caused in the last window. So the policy waits
    while links are congested, and replaces whenever rows cost no time. After HORIZON minibatches without a replacement
    it makes one, to measure again.
    """

    def __init__(self, horizon: int = 32) -> None:
        if horizon < 1:
            raise InputError(f"cost-benefit:{horizon} must count at least 1 minibatch")
        self.horizon = horizon
        self.name = f"cost-benefit:{horizon}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Nothing is known yet."""
        self._best = 0.0
        self._rows = 0.0
        self._stall_s = self._fetched = 0.0
        self._replaced_at: int | None = None

    def decide(self, observation: Observation) -> Decision:
        """Compare benefit and cost."""
        window, run = observation.window, observation.run
        self._stall_s += window.stall_s
        self._fetched += window.fetched_rows
        if self._replaced_at is None or observation.minibatch - self._replaced_at >= self.horizon:
            return self._replace(observation)
        if observation.history and observation.history[-1].decision.replace:
            self._best = observation.hit_rate
            self._rows += WEIGHT * (window.replacement_rows - self._rows)
        self._best = max(self._best, observation.hit_rate)
        usual_s = run.row_s or self._stall_s / max(self._fetched, 1)
        now_s = window.stall_s / max(window.fetched_rows, 1)
        lasts = min(self.horizon, observation.minibatches_left)
        lost_rows = (self._best - observation.hit_rate) * window.remote_rows / window.minibatches
        if lost_rows * lasts * usual_s >= self._rows * now_s:
            return self._replace(observation)
        return Decision(replace=False)

    def _replace(self, observation: Observation) -> Decision:
        self._replaced_at = observation.minibatch
        return Decision(replace=True)
