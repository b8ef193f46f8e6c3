"""The policy that asks a language model, whichever provider runs it (Rudder, arXiv 2602.23556)."""

from __future__ import annotations

from time import perf_counter

from pydantic import ValidationError

from agents.llm.prompt import question, system_prompt
from agents.llm.provider import Provider, Question
from agents.llm.schema import ANSWER_SCHEMA, Answer, one_line
from agents.policy import Decision, Observation, Outcome, RunFacts


class LLMPolicy:
    """Ask after every window; skip whenever no usable answer comes.

    `Decision.outcome` counts what came: "valid", "invalid" (not JSON of the schema), "late" (not within `timeout_s`
    seconds), "failed" (an error instead). `Decision.latency_s` is measured around the call. Apart from it, a decision
    depends on the observation, the run and the seed only, as far as the model's server keeps to its seed.
    """

    def __init__(self, name: str, provider: Provider, timeout_s: float) -> None:
        self.name = name
        self._provider = provider
        self._timeout_s = timeout_s

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where the model can't be asked; after that, nothing stops the run."""
        self._provider.start()
        self._system = system_prompt(run)
        self._seed = seed

    def decide(self, observation: Observation) -> Decision:
        """Ask once, and turn whatever comes into a decision."""
        asked = Question(system=self._system, user=question(observation), schema=ANSWER_SCHEMA, seed=self._seed)
        started = perf_counter()
        try:
            text = self._provider.ask(asked)
        except TimeoutError:
            return self._late(perf_counter() - started)
        except Exception as error:  # whatever a provider raises, the training run goes on and the failure is counted
            return _skip("failed", f"{type(error).__name__}: {error}", perf_counter() - started)
        latency_s = perf_counter() - started
        if latency_s > self._timeout_s:
            return self._late(latency_s)
        try:
            return Answer.model_validate_json(text).decision(latency_s)
        except ValidationError:
            return _skip("invalid", f"unusable answer: {text[:200]}", latency_s)

    def _late(self, latency_s: float) -> Decision:
        return _skip("late", f"no answer within {self._timeout_s:g} s", latency_s)


def _skip(outcome: Outcome, reason: str, latency_s: float) -> Decision:
    """The fallback: skipping costs no traffic and never makes a buffer worse."""
    return Decision(replace=False, outcome=outcome, reason=one_line(reason), latency_s=latency_s)
