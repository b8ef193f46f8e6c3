"""The policy that asks a language model, whichever provider runs it (Rudder, arXiv 2602.23556)."""

from __future__ import annotations

from time import perf_counter

from agents.llm.answers import AnswerCache, StoredAnswer, default_folder
from agents.llm.prompt import question, system_prompt
from agents.llm.provider import Declined, Provider, Question, Reply
from agents.llm.reading import Unusable, find_answer, read, said
from agents.llm.schema import ANSWER_SCHEMA, one_line
from agents.policy import Decision, Observation, Outcome, RunFacts
from agents.registry import ModelOptions


class LLMPolicy:
    """Ask after every window; skip whenever no usable answer comes.

    `Decision.outcome` counts what came (`agents.policy.Outcome`, found by `agents.llm.reading`): an answer that takes
    longer than `ModelOptions.timeout_s` seconds is "late", an error of the server's "failed". `Decision.latency_s` is
    measured around the call; an answer out of the answer cache takes as long as it took when the model gave it. Apart
    from the latency, a decision depends on the observation, the run and the seed only, as far as the model's server
    keeps to its seed.
    """

    def __init__(self, name: str, provider: Provider, model: ModelOptions) -> None:
        self.name = name
        self._provider = provider
        self._timeout_s = model.timeout_s
        self._answers = AnswerCache(default_folder()) if model.keep_answers else None

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where the model gives no usable answer; after that, nothing stops the run."""
        self._provider.start(run)
        self._system = system_prompt(run)
        self._seed = seed

    def decide(self, observation: Observation) -> Decision:
        """Ask once, and turn whatever comes into a decision."""
        asked = Question(system=self._system, user=question(observation), schema=ANSWER_SCHEMA, seed=self._seed)
        started = perf_counter()
        try:
            reply, latency_s = self._ask(asked)
        except TimeoutError:
            return self._late("", perf_counter() - started)
        except Declined as error:
            return self._skip("refused", f"the server says: {error}", "", perf_counter() - started)
        except Exception as error:  # whatever a provider raises, the training run goes on and the failure is counted
            return self._skip("failed", f"{type(error).__name__}: {error}", "", perf_counter() - started)
        text = said(reply)
        try:
            answer = read(reply)
        except Unusable as error:
            if latency_s > self._timeout_s:
                return self._late(text, latency_s)
            return self._skip(error.outcome, str(error), text, latency_s)
        if self._answers:
            self._answers.store(self._provider.identity, asked, StoredAnswer(text, latency_s))
        if latency_s > self._timeout_s:
            return self._late(text, latency_s)
        return answer.decision(text, latency_s, self._provider.answered_by)

    def _ask(self, asked: Question) -> tuple[Reply, float]:
        """The reply and the seconds it took, from the answer cache or from the model."""
        found = self._answers.find(self._provider.identity, asked) if self._answers else None
        if found and find_answer(found.text):
            return Reply(text=found.text), found.latency_s
        started = perf_counter()
        reply = self._provider.ask(asked)
        return reply, perf_counter() - started

    def _late(self, text: str, latency_s: float) -> Decision:
        return self._skip("late", f"no answer within {self._timeout_s:g} s", text, latency_s)

    def _skip(self, outcome: Outcome, reason: str, text: str, latency_s: float) -> Decision:
        """The fallback: skipping costs no traffic and never makes a buffer worse."""
        return Decision(
            replace=False,
            outcome=outcome,
            reason=one_line(reason),
            answer=text,
            latency_s=latency_s,
            answered_by=self._provider.answered_by,
        )
