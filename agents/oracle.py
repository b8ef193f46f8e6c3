"""The gate that knows the future: a bound for every policy that only says when."""

from __future__ import annotations

from collections.abc import Callable

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError

Foresight = Callable[[int, int], tuple[int, int]]
"""Rows that so many minibatches from a first one on fetch after replacing there, and after skipping; with no
replacement after."""


class Oracle:
    """Always takes the branch that fetches fewer rows over the next HORIZON minibatches; skips where they are equal.

    Whoever runs it gives it `foresee` before `reset`: the simulator can look into the future of a copy of the buffer.
    It is the best gate for decisions that last HORIZON minibatches, not the best sequence of decisions.
    """

    foresee: Foresight | None = None

    def __init__(self, horizon: int = 32) -> None:
        if horizon < 1:
            raise InputError(f"oracle:{horizon} must count at least 1 minibatch")
        self.horizon = horizon
        self.name = f"oracle:{horizon}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where nobody can tell the future."""
        if self.foresee is None:
            raise InputError(f"{self.name} knows the future: it is a bound for the simulator, not for a live run")

    def decide(self, observation: Observation) -> Decision:
        """Compare the branches."""
        assert self.foresee is not None
        replaced_rows, skipped_rows = self.foresee(observation.minibatch + 1, self.horizon)
        return Decision(replace=replaced_rows < skipped_rows)
