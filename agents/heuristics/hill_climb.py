"""Hill climbing: try a longer or a shorter interval, and go on as long as that fetches fewer rows."""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError

LONGEST = 1024
"""Intervals are powers of two times START, from 1 to this many minibatches."""


class HillClimb:
    """Replace every N minibatches; after every trial of TRIAL minibatches, double or halve N.

    The search minimises the share of remote rows that a trial fetches, replacements included. While the share falls,
    the direction is kept; when it rises, it is reversed. The first interval is START, the first direction shorter.
    """

    def __init__(self, start: int = 16, trial: int = 16) -> None:
        if not 1 <= start <= LONGEST or trial < 1:
            raise InputError(f"hill-climb:{start},{trial} needs START from 1 to {LONGEST} and TRIAL from 1")
        self.start, self.trial = start, trial
        self.name = f"hill-climb:{start},{trial}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Begin at START."""
        self._interval, self._longer = self.start, False
        self._last_share: float | None = None
        self._fetched = self._remote = self._minibatches = 0
        self._replaced_at = -1

    def decide(self, observation: Observation) -> Decision:
        """Count the window, take a step where a trial is over, and replace where the interval is."""
        window = observation.window
        self._fetched += window.fetched_rows
        self._remote += window.remote_rows
        self._minibatches += window.minibatches
        if self._minibatches >= max(self.trial, self._interval):
            self._step()
        due = observation.minibatch - self._replaced_at >= self._interval
        if due:
            self._replaced_at = observation.minibatch
        return Decision(replace=due)

    def _step(self) -> None:
        share = self._fetched / max(self._remote, 1)
        if self._last_share is not None and share > self._last_share:
            self._longer = not self._longer
        self._last_share = share
        self._interval = min(self._interval * 2, LONGEST) if self._longer else max(self._interval // 2, 1)
        self._fetched = self._remote = self._minibatches = 0
