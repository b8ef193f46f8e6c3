"""A trained classifier as a policy (Rudder, arXiv 2602.23556, compares six of them with LLMs)."""

from __future__ import annotations

from pathlib import Path

from agents.classifiers.features import features, hit_rate_change
from agents.classifiers.file import load
from agents.classifiers.models import Linear, Vector
from agents.policy import Decision, Observation, RunFacts
from traces.errors import InputError


class Classifier:
    """Replace all stale rows where the model of FILE says so.

    With `tune` above 0, a logistic regression goes on learning during the run, at that rate. Once the effect of a
    decision is known, the model moves towards the decision if the hit rate rose by more than the share of rows that
    replacements fetched, and away from it otherwise. The paper uses the same kind of proxy, because a live run doesn't
    show what the other choice would have done.
    """

    def __init__(self, file: str, tune: float = 0.0) -> None:
        """Raises `InputError` for what is no classifier, and for tuning of a model that can't be tuned."""
        self._file = load(Path(file))
        if tune < 0 or (tune and not isinstance(self._file.model, Linear)):
            raise InputError(f"classifier:{file}: tune={tune:g} must be at least 0, and needs a logistic regression")
        self._rate = tune
        self.name = f"classifier:{file},{tune}" if tune else f"classifier:{file}"

    def reset(self, run: RunFacts, seed: int) -> None:
        """Start from the file."""
        self._model = self._file.model
        self._before: Vector | None = None

    def decide(self, observation: Observation) -> Decision:
        """Learn from the last effect if asked to, then evaluate the model."""
        x = self._file.standardised(features(observation))
        if self._rate:
            self._learn(observation)
            self._before = x
        return Decision(replace=self._model.margin(x) > 0.0)

    def _learn(self, observation: Observation) -> None:
        past = observation.history[-1] if observation.history else None
        if past is None or past.after is None or self._before is None or not isinstance(self._model, Linear):
            return
        cost = past.after.replacement_rows / max(past.after.remote_rows, 1)
        helped = hit_rate_change(past, observation.run.universe) > cost
        wanted = past.decision.replace if helped else not past.decision.replace
        self._model = self._model.tuned(self._before, wanted, self._rate)
