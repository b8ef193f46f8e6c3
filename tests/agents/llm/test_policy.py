"""The policy that asks a model, over a provider that says what a test wants."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.check import RUN, check_policy, observations
from agents.llm.policy import LLMPolicy
from agents.llm.provider import Declined, Reply, ServerError, require_model_calls
from agents.llm.schema import ANSWER_SCHEMA
from agents.registry import ModelOptions
from traces.errors import InputError

ANSWER = '{"reason": "r", "action": "replace", "share_percent": 25, "ranking": "misses", "expected_impact": "e"}'


class Scripted:
    """A provider that calls `reply` with every question."""

    identity: ClassVar = {"provider": "test"}
    answered_by = "a test"

    def __init__(self, reply):
        self.reply = reply
        self.questions = []

    def start(self, run):
        self.questions.clear()

    def ask(self, question):
        self.questions.append(question)
        reply = self.reply(question)
        return reply if isinstance(reply, Reply) else Reply(text=reply)


def unkept(timeout_s=60.0):
    return ModelOptions(timeout_s=timeout_s, keep_answers=False)


def decide(reply, observation, timeout_s=60.0):
    policy = LLMPolicy("scripted:test", Scripted(reply), unkept(timeout_s))
    policy.reset(observation.run, seed=3)
    return policy.decide(observation)


def raises(error):
    def reply(question):
        raise error

    return reply


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (lambda question: ANSWER, "valid"),
        (lambda question: "yes, do replace", "invalid"),
        (lambda question: ANSWER[:-9], "invalid"),
        (lambda question: "", "invalid"),
        (lambda question: '{"decision": "replace"}', "invalid"),
        (lambda question: "[" * 100_000, "invalid"),
        (lambda question: Reply(text=ANSWER[:-9], cut=True), "truncated"),
        (lambda question: Reply(text="", thoughts="Well"), "thinking"),
        (lambda question: Reply(text="No.", refusal="No."), "refused"),
        (raises(Declined("too long", 400)), "refused"),
        (raises(ServerError("broken")), "failed"),
        (raises(TimeoutError()), "late"),
        (raises(ConnectionError("gone")), "failed"),
        (raises(RecursionError()), "failed"),
    ],
)
def test_every_outcome_is_counted_and_only_a_valid_one_replaces(reply, outcome, make_observation):
    decision = decide(reply, make_observation())
    assert (decision.outcome, decision.replace) == (outcome, outcome == "valid")
    assert decision.answered_by == "a test"
    assert decision.latency_s > 0.0


def test_an_answer_after_the_time_out_is_late_though_it_came(make_observation):
    def slow(question):
        time.sleep(0.02)
        return ANSWER

    decision = decide(slow, make_observation(), timeout_s=0.01)
    assert (decision.outcome, decision.replace, decision.reason) == ("late", False, "no answer within 0.01 s")
    assert decision.latency_s >= 0.02


def test_an_error_is_made_fit_for_a_log(make_observation):
    decision = decide(raises(RuntimeError("\x1b[2J\n" + "x" * 1_000)), make_observation())
    assert decision.reason.startswith("RuntimeError: [2J xxx")
    assert len(decision.reason) == 120


def test_tests_call_no_model_unless_they_are_marked():
    with pytest.raises(InputError, match="forbidden here"):
        require_model_calls()


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_model_says_is_a_decision(text):
    _, observation = next(observations(RUN))
    decision = decide(lambda question: text, observation)
    assert decision.outcome in ("invalid", "thinking")
    assert not decision.replace


def test_equal_observations_make_equal_questions(make_run, make_observation):
    provider = Scripted(lambda question: ANSWER)
    policy = LLMPolicy("scripted:test", provider, unkept())
    policy.reset(make_run(), seed=3)
    for minibatch in (7, 7, 8):
        policy.decide(make_observation(minibatch=minibatch))
    first, second, third = provider.questions
    assert first == second != third
    assert third == replace(first, user=third.user)
    assert (first.seed, first.schema) == (3, ANSWER_SCHEMA)


def test_the_policy_keeps_the_contract_over_a_repeatable_provider():
    def by_question(question):
        return ANSWER if len(question.user) % 2 else ANSWER.replace("replace", "skip")

    assert "repeats under a seed" in check_policy(lambda: LLMPolicy("scripted:test", Scripted(by_question), unkept()))
