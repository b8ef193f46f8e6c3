"""Policies that look at nothing, or only at the count of minibatches.

`NoPipeline` and `NoBuffer` decide like `Never`; they differ in their `PolicyPlan`: neither has a buffer, and
`NoPipeline` prepares no minibatch ahead. Compared with each other they separate the gain of pipelining from that of
caching.
"""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError


class Never:
    """Leave the buffer as it was filled at the start: static prefetching, as with a degree-ordered cache (PaGraph)."""

    name = "never"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Nothing to prepare."""

    def decide(self, observation: Observation) -> Decision:
        """Skip."""
        return Decision(replace=False)


class NoPipeline(Never):
    """DistDGL as it ships: sample, fetch and compute one after another, nothing kept (Rudder's baseline)."""

    name = "none"


class NoBuffer(Never):
    """DistDGL with the next minibatch prepared while this one computes, nothing kept."""

    name = "pipeline"


class Always(Never):
    """Replace all stale rows after every window. (Rudder's classifier, asked as its code does: `rudder-every:1`.)"""

    name = "always"

    def decide(self, observation: Observation) -> Decision:
        """Replace."""
        return Decision(replace=True)


class Every:
    """Replace all stale rows after the Nth, 2Nth, ... minibatch of the run (As MassiveGNN does it: `massivegnn:N`.)"""

    def __init__(self, minibatches: int) -> None:
        if minibatches < 1:
            raise InputError(f"every:{minibatches} must count at least 1 minibatch")
        self.minibatches = minibatches
        self.name = f"every:{minibatches}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` unless decisions, one a window, can fall on every Nth minibatch."""
        if self.minibatches % run.window:
            raise InputError(
                f"{self.name} can't be kept with a decision every {run.window} minibatches: "
                f"use a window that divides {self.minibatches}, or every:N with N a multiple of {run.window}"
            )

    def decide(self, observation: Observation) -> Decision:
        """Replace where the minibatches so far are a multiple of N."""
        return Decision(replace=(observation.minibatch + 1) % self.minibatches == 0)


class Partial:
    """Replace a small part of the stale rows after every window.

    Only the best candidates come in. So a row that happened to be asked for twice doesn't displace one that is asked
    for regularly.
    """

    def __init__(self, share: float = 0.05) -> None:
        if not 0.0 < share <= 1.0:
            raise InputError(f"partial:{share} is no share: it must be above 0 and at most 1")
        self.share = share
        self.name = f"partial:{share}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Nothing to prepare."""

    def decide(self, observation: Observation) -> Decision:
        """Replace that part."""
        return Decision(replace=True, share=self.share)
