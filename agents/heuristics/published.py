"""The gates of the published code: in which minibatches MassiveGNN and Rudder replace rows, read in their repositories.

Minibatches are counted from 0. Both tie N to the period of the score buffer, after which an idle row is stale.
"""

from __future__ import annotations

from agents.policy import Decision, Observation, RunFacts
from agents.spec import options, parse_spec
from traces.errors import InputError


class MassiveGNN:
    """Replace all stale rows in every Nth minibatch: N - 1, 2N - 1, 3N - 1, ...

    With N = 1 minibatch 0 is left out: no row was missed before it, so that none could come in.
    """

    def __init__(self, minibatches: int) -> None:
        self.name = f"massivegnn:{minibatches}"
        self.minibatches = _at_least_1(self.name, minibatches)

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` for a window above 1, and for a score buffer whose period isn't stated to be N."""
        _check_run(self.name, run, self.minibatches)

    def decide(self, observation: Observation) -> Decision:
        """Replace if the next minibatch, to which the decision applies, is an Nth."""
        return Decision(replace=(observation.minibatch + 2) % self.minibatches == 0)


class RudderEvery:
    """Rudder under a model that says yes at once: replace in minibatches N, 2N + 1, 3N + 2, ...

    N minibatches fill a window; the answer applies to the next one, which is in no window. A language model's windows
    are as long as the buffer's period. Rudder's classifiers are asked about every minibatch, whatever the period; its
    MLP always says yes and so is `rudder-every:1`.
    """

    def __init__(self, minibatches: int) -> None:
        self.name = f"rudder-every:{minibatches}"
        self.minibatches = _at_least_1(self.name, minibatches)

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` for a window above 1, and if N isn't 1 for a score buffer of another period."""
        _check_run(self.name, run, None if self.minibatches == 1 else self.minibatches)

    def decide(self, observation: Observation) -> Decision:
        """Replace if the next minibatch, to which the decision applies, follows a window."""
        return Decision(replace=(observation.minibatch + 2) % (self.minibatches + 1) == 0)


def _at_least_1(name: str, minibatches: int) -> int:
    if minibatches < 1:
        raise InputError(f"{name} must count at least 1 minibatch")
    return minibatches


def _check_run(name: str, run: RunFacts, period: int | None) -> None:
    """Raises `InputError` where decisions can't apply to any minibatch, or a score buffer's period isn't `period`."""
    if run.window != 1:
        raise InputError(f"{name} can't be kept with a decision every {run.window} minibatches: use a window of 1")
    cache = parse_spec(run.cache)
    if period is None or cache.name not in ("score", "score-public"):
        return
    if options(cache, _score_options).get("period") != period:
        raise InputError(
            f"{name} ties the buffer's period to its interval: say so, with --cache {cache.name}:period={period} "
            f"and not {run.cache}"
        )


def _score_options(alpha: float = 0.05, period: int = 32) -> None:
    """What a score buffer's spec may say (`sim.caches.score`)."""
