"""Drives a policy for one trainer: fills windows, asks, logs decisions with their effect, and says when each applies.

The simulator and the live loader use the same class; only the clock differs. A trainer calls `take` before it looks a
minibatch up in its buffer, and `after` afterwards. Training may go on between an observation and its answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from agents.policy import Decision, Observation, PastDecision, Policy, RunFacts, WindowCounts

HISTORY = 5
"""Number of past decisions in an observation."""


class Buffer(Protocol):
    """The state of a buffer that goes into an observation, in rows (`sim.caches.cache.Cache`)."""

    @property
    def occupied_rows(self) -> int: ...
    @property
    def stale_rows(self) -> int: ...
    @property
    def candidate_rows(self) -> int: ...


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One decision: what was seen, what was answered, and the run-wide minibatch that it applied from.

    `applied_minibatch` is None where the run ended before the answer came.
    """

    observation: Observation
    decision: Decision
    applied_minibatch: int | None


class PolicyDriver:
    """One trainer's policy in operation.

    A window starts filling when a decision has been applied (or at the start of the run). When it is full, the policy
    is asked once. Minibatches that run before the answer comes belong to no window. The constructor resets the policy
    with `seed`.
    """

    def __init__(self, policy: Policy, run: RunFacts, seed: int) -> None:
        self.policy, self.run = policy, run
        self.log: list[LoggedDecision] = []
        policy.reset(run, seed)
        self._history: tuple[PastDecision, ...] = ()
        self._asked: Observation | None = None
        self._answer: Decision | None = None
        self._start_window()

    def _start_window(self) -> None:
        self._minibatches = self._remote = self._halo = self._hits = self._replacements = 0
        self._stall_s = self._step_s = 0.0

    def take(self, minibatch: int) -> Decision | None:
        """The decision that applies to this minibatch, if an answer has come since the last one."""
        if self._answer is None or self._asked is None:
            return None
        decision, before = self._answer, self._asked.window
        self._history = (
            *self._history,
            PastDecision(minibatch=minibatch, decision=decision, before=before, after=None),
        )
        self._history = self._history[-HISTORY:]
        self.log.append(LoggedDecision(self._asked, decision, minibatch))
        self._asked = self._answer = None
        self._start_window()
        return decision

    def after(
        self,
        epoch: int,
        minibatch: int,
        buffer: Buffer,
        *,
        remote_rows: int,
        halo_rows: int,
        hit_rows: int,
        replacement_rows: int,
    ) -> Observation | None:
        """Count a minibatch that has been looked up. If this fills the window, returns the observation to ask the
        policy about.

        Minibatches are not counted until `answer` is called.
        """
        if self._asked is not None:
            return None
        self._minibatches += 1
        self._remote += remote_rows
        self._halo += halo_rows
        self._hits += hit_rows
        self._replacements += replacement_rows
        if self._minibatches < self.run.window or minibatch >= self.run.minibatches - 1:
            return None
        return self._observe(epoch, minibatch, buffer)

    def time(self, stall_s: float, step_s: float) -> None:
        """Add the times of a step that ended."""
        self._stall_s += stall_s
        self._step_s += step_s

    def _observe(self, epoch: int, minibatch: int, buffer: Buffer) -> Observation:
        window = WindowCounts(
            minibatches=self._minibatches,
            remote_rows=self._remote,
            halo_rows=self._halo,
            hit_rows=self._hits,
            replacement_rows=self._replacements,
            stall_s=self._stall_s,
            step_s=self._step_s,
        )
        if self._history and self._history[-1].after is None:
            self._history = (*self._history[:-1], replace(self._history[-1], after=window))
        self._asked = Observation(
            run=self.run,
            epoch=epoch,
            minibatch=minibatch,
            window=window,
            occupied_rows=buffer.occupied_rows,
            stale_rows=buffer.stale_rows,
            candidate_rows=buffer.candidate_rows,
            history=self._history,
        )
        return self._asked

    def answer(self, decision: Decision) -> None:
        """Hand in the policy's answer, once the time that deciding took has passed. It applies to the next
        minibatch."""
        self._answer = decision

    def close(self) -> list[LoggedDecision]:
        """The whole log, with an answer that came too late to be applied, if there is one."""
        if self._asked is not None and self._answer is not None:
            self.log.append(LoggedDecision(self._asked, self._answer, None))
        return self.log
