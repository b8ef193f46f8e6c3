"""The policy that asks a language model, whichever provider runs it (Rudder, arXiv 2602.23556)."""

from __future__ import annotations

from time import perf_counter

from pydantic import ValidationError

from agents.llm.answers import AnswerCache, StoredAnswer, default_folder
from agents.llm.prompt import question, system_prompt
from agents.llm.provider import Provider, Question
from agents.llm.schema import ANSWER_SCHEMA, Answer, one_line
from agents.policy import Decision, Observation, Outcome, RunFacts
from agents.registry import ModelOptions


class LLMPolicy:
    """Ask after every window; skip whenever no usable answer comes.

    `Decision.outcome` counts what came: "valid", "invalid" (not JSON of the schema), "late" (not within
    `ModelOptions.timeout_s` seconds), "failed" (an error instead). `Decision.latency_s` is measured around the call;
    an answer out of the answer cache takes as long as it took when the model gave it. Apart from the latency, a
    decision depends on the observation, the run and the seed only, as far as the model's server keeps to its seed.
    """

    def __init__(self, name: str, provider: Provider, model: ModelOptions) -> None:
        self.name = name
        self._provider = provider
        self._timeout_s = model.timeout_s
        self._answers = AnswerCache(default_folder()) if model.keep_answers else None

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
            answer = self._ask(asked)
        except TimeoutError:
            return self._late("", perf_counter() - started)
        except Exception as error:  # whatever a provider raises, the training run goes on and the failure is counted
            return _skip("failed", f"{type(error).__name__}: {error}", "", perf_counter() - started)
        if answer.latency_s > self._timeout_s:
            return self._late(answer.text, answer.latency_s)
        try:
            return Answer.model_validate_json(answer.text).decision(answer.text, answer.latency_s)
        except ValidationError:
            return _skip("invalid", f"unusable answer: {answer.text[:200]}", answer.text, answer.latency_s)

    def _ask(self, asked: Question) -> StoredAnswer:
        identity = self._provider.identity
        if self._answers and (found := self._answers.find(identity, asked)):
            return found
        started = perf_counter()
        text = self._provider.ask(asked)
        answer = StoredAnswer(text, perf_counter() - started)
        if self._answers:
            self._answers.store(identity, asked, answer)
        return answer

    def _late(self, text: str, latency_s: float) -> Decision:
        return _skip("late", f"no answer within {self._timeout_s:g} s", text, latency_s)


def _skip(outcome: Outcome, reason: str, text: str, latency_s: float) -> Decision:
    """The fallback: skipping costs no traffic and never makes a buffer worse."""
    return Decision(replace=False, outcome=outcome, reason=one_line(reason), answer=text, latency_s=latency_s)
