"""When the parts of one minibatch of a user's script began and ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from traces.capture.fetch import FetchTimes
from traces.job.source import Ready


@dataclass(slots=True)
class Timeline:
    """Readings of `perf_counter`; None for what hasn't happened.

    `gradients_ready_s` is when this trainer's gradients were ready. Pulls are kept by the phase of the step in which
    they happen (before the forward pass, in it, or between it and the update), so that they don't count twice. Pulls of
    input nodes' rows add up in `fetch`, all others before the update in `label_s`.
    """

    start_s: float
    sampled_s: float
    forward_start_s: float | None = None
    forward_end_s: float | None = None
    gradients_ready_s: float | None = None
    update_start_s: float | None = None
    fetch_s: float = 0.0
    label_s: float = 0.0
    fetch: FetchTimes = field(default_factory=FetchTimes)
    ready_made: Ready | None = None
    """The minibatch as it was prepared ahead, or None. Rows that a step then pulls itself count as labels."""
    _pulled_s: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    @property
    def _phase(self) -> int:
        return 0 if self.forward_start_s is None else 1 if self.forward_end_s is None else 2

    def pulled_features(self, seconds: float, times: FetchTimes) -> None:
        """Rows of input nodes have come."""
        if self.ready_made is not None:
            self.pulled_others(seconds)
        elif self.update_start_s is None:
            before_s = self.fetch_s
            self.fetch_s += seconds
            self._pulled_s[self._phase] += seconds
            self.fetch.local_gather_s += times.local_gather_s
            done = self.fetch.owner_done_s or [0.0] * len(times.owner_done_s)
            self.fetch.owner_done_s = [
                before_s + new if new else old for old, new in zip(done, times.owner_done_s, strict=True)
            ]

    def pulled_others(self, seconds: float) -> None:
        """Labels have come, or whatever else the script keeps in the store."""
        if self.update_start_s is None:
            self.label_s += seconds
            self._pulled_s[self._phase] += seconds

    def times(self, end: float) -> dict[str, float | None]:
        """The columns of `traces.schema`; None for times that aren't known.

        `end` is when the script went on to the next minibatch; what it does after the optimizer's step counts as
        update.
        """
        before, during, after = self._pulled_s
        gathered_s = self.fetch.local_gather_s
        found: dict[str, float | None] = {
            "start_s": self.start_s,
            "prepare_start_s": self.start_s,
            "sample_s": self.sampled_s - self.start_s,
            "fetch_s": self.fetch_s,
            "local_gather_s": gathered_s if isfinite(gathered_s) else None,
            "label_s": self.label_s,
            "step_s": end - self.start_s,
        }
        if (made := self.ready_made) is not None:
            found |= {
                "prepare_start_s": made.prepare_start_s,
                "sample_s": made.sample_s,
                "fetch_s": made.fetch_s,
                "local_gather_s": made.fetch.local_gather_s,
            }
        if self.forward_start_s is None or self.forward_end_s is None:
            return found
        found |= {
            "stall_s": self.forward_start_s - self.start_s + during + after,
            # between its pulls and the forward pass, a script mostly moves data to a device
            "copy_s": max(0.0, self.forward_start_s - self.sampled_s - before) + (made.copy_s if made else 0.0),
            "forward_s": self.forward_end_s - self.forward_start_s - during,
        }
        if self.update_start_s is not None:
            found["update_s"] = end - self.update_start_s
            if self.gradients_ready_s is not None:
                found["backward_s"] = max(0.0, self.gradients_ready_s - self.forward_end_s - after)
                found["allreduce_s"] = max(0.0, self.update_start_s - self.gradients_ready_s)
        return found
