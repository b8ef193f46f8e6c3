"""Between a trainer and its policy: fills windows, remembers decisions and their effect, says what applies when.

The same object serves the simulator and the live loader; only what makes time pass differs. A trainer calls `take`
before it serves a minibatch and `count` after it; between an observation and its answer training may go on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agents.policy import Decision, Observation, PastDecision, Policy, RunFacts, WindowCounts

HISTORY = 5
"""Past decisions that a policy is shown."""


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

    After a decision has been applied (or at the start) a window fills; when it is full the policy is asked, once.
    While it thinks, further minibatches belong to no window. `resets` the policy with `seed`.
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

    def count(self, minibatch: int, remote_rows: int, halo_rows: int, hit_rows: int, replacement_rows: int) -> bool:
        """Count a minibatch that was served; True when the window is full and the policy is to be asked."""
        if self._asked is not None:
            return False
        self._minibatches += 1
        self._remote += remote_rows
        self._halo += halo_rows
        self._hits += hit_rows
        self._replacements += replacement_rows
        return self._minibatches == self.run.window and minibatch < self.run.minibatches - 1

    def time(self, stall_s: float, step_s: float) -> None:
        """Add the times of a step that ended."""
        self._stall_s += stall_s
        self._step_s += step_s

    def ask(self, epoch: int, minibatch: int, occupied_rows: int, stale_rows: int, candidate_rows: int) -> Decision:
        """Ask the policy about the full window. The answer applies only from `answer` on."""
        return self.policy.decide(self.observe(epoch, minibatch, occupied_rows, stale_rows, candidate_rows))

    def observe(
        self, epoch: int, minibatch: int, occupied_rows: int, stale_rows: int, candidate_rows: int
    ) -> Observation:
        """The question about the full window, for whoever asks the policy elsewhere; it is open until `answer`."""
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
            occupied_rows=occupied_rows,
            stale_rows=stale_rows,
            candidate_rows=candidate_rows,
            history=self._history,
        )
        return self._asked

    def answer(self, decision: Decision) -> None:
        """The time that deciding took has passed: the decision applies to the next minibatch that is served."""
        self._answer = decision

    def close(self) -> list[LoggedDecision]:
        """The whole log, with the question that was still open when the run ended."""
        if self._asked is not None and self._answer is not None:
            self.log.append(LoggedDecision(self._asked, self._answer, None))
        return self.log
