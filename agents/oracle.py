"""The gate that knows the future: a bound for every policy that only says when."""

from __future__ import annotations

from collections.abc import Callable

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError

Foresight = Callable[[int, int], tuple[int, int]]
"""Maps (first minibatch, number of minibatches) to the rows fetched in them if the buffer is replaced at the first one,
and if it is not. No other replacement follows."""


class Oracle:
    """Always takes the branch that fetches fewer rows over the next HORIZON minibatches; skips where they are equal.

    The simulator sets `foresee` before `reset`: it can replay a copy of the buffer over the minibatches to come. It is
    the best gate for decisions that last HORIZON minibatches, not the best sequence of decisions.
    """

    foresee: Foresight | None = None

    def __init__(self, horizon: int = 32) -> None:
        if horizon < 1:
            raise InputError(f"oracle:{horizon} must count at least 1 minibatch")
        self.horizon = horizon
        self.name = f"oracle:{horizon}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where `foresee` wasn't given."""
        if self.foresee is None:
            raise InputError(f"{self.name} knows the future: it is a bound for the simulator, not for a live run")

    def decide(self, observation: Observation) -> Decision:
        """Compare the branches."""
        assert self.foresee is not None
        replaced_rows, skipped_rows = self.foresee(observation.minibatch + 1, self.horizon)
        return Decision(replace=replaced_rows < skipped_rows)
