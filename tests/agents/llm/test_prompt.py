"""What a model reads, and what counts as an answer."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from agents.llm.prompt import question, system_prompt
from agents.llm.schema import ANSWER_SCHEMA, Answer
from agents.policy import Decision, PastDecision

ANSWER = {
    "reason": "hits are rare",
    "action": "replace",
    "share_percent": 50,
    "ranking": "recent",
    "expected_impact": "more hits",
}


def test_the_system_prompt_holds_the_static_facts(make_run):
    text = system_prompt(make_run())
    for fact in (
        "debian",
        "63,666 nodes",
        "2 partitions",
        "fanout 10,25",
        "8,000 halo nodes",
        "2,000 rows of 512 bytes",
    ):
        assert fact in text
    assert "hop away" in text
    assert "of all remote nodes" in system_prompt(make_run(universe="remote"))


def test_the_question_words_the_numbers(make_observation):
    assert question(make_observation(minibatch=99, stall_s=0.03, hit_rows=96)).splitlines() == [
        "Epoch 3 of 10, minibatch 100 of 400: 75 % of the run is left.",
        "In the last 1 minibatches:",
        "- Hit rate is LOW (12 % of 800 cacheable rows; 10 % of 1,000 remote rows).",
        "- 954 rows (0.5 MiB) crossed the network, 50 of them replacements.",
        "- Waiting for features is HIGH (30 % of the step time).",
        "The buffer holds 2,000 of 2,000 rows. Stale rows: 300. Candidates: 900.",
        "Replace or skip?",
    ]


def test_the_question_judges_over_what_may_be_cached(make_run, make_observation):
    text = question(make_observation(make_run(universe="remote"), hit_rows=700))
    assert "- Hit rate is HIGH (70 % of 1,000 cacheable rows; 70 % of 1,000 remote rows)." in text


def test_the_last_five_decisions_come_with_their_effect(make_observation):
    def past(minibatch, decision, after):
        return PastDecision(minibatch=minibatch, decision=decision, before=make_observation().window, after=after)

    better, worse, same = (make_observation(hit_rows=hits).window for hits in (600, 200, 401))
    history = (
        past(1, Decision(replace=True), better),
        past(9, Decision(replace=True, share=0.25, ranking="degree"), better),
        past(19, Decision(replace=True), worse),
        past(29, Decision(replace=False), same),
        past(39, Decision(replace=False, outcome="late"), same),
        past(49, Decision(replace=True), None),
    )
    lines = question(make_observation(minibatch=60, history=history)).splitlines()
    assert lines[lines.index("Your last decisions, oldest first:") + 1 : -1] == [
        "- After minibatch 10 you replaced 25 % of the stale rows by degree: hit rate 50 % -> 75 % (+25 points), "
        "fetched 0.3 MiB -> 0.2 MiB a window. It HELPED.",
        "- After minibatch 20 you replaced 100 % of the stale rows by misses: hit rate 50 % -> 25 % (-25 points), "
        "fetched 0.3 MiB -> 0.4 MiB a window. It HURT.",
        "- After minibatch 30 you skipped: hit rate 50 % -> 50 % (+0 points), "
        "fetched 0.3 MiB -> 0.3 MiB a window. It made NO DIFFERENCE.",
        "- After minibatch 40 no usable answer came, nothing was replaced: hit rate 50 % -> 50 % (+0 points), "
        "fetched 0.3 MiB -> 0.3 MiB a window. It made NO DIFFERENCE.",
        "- After minibatch 50 you replaced 100 % of the stale rows by misses. The effect is not known yet.",
    ]


def test_an_answer_becomes_a_decision():
    assert Answer.model_validate_json(json.dumps(ANSWER)).decision("text", latency_s=0.5) == Decision(
        answer="text",
        replace=True,
        share=0.5,
        ranking="recent",
        reason="hits are rare",
        expected_impact="more hits",
        latency_s=0.5,
    )


def test_how_much_and_which_matter_only_to_a_replacement():
    decision = Answer.model_validate_json(json.dumps(ANSWER | {"action": "skip"})).decision("", latency_s=0.0)
    assert (decision.replace, decision.share, decision.ranking) == (False, 1.0, "misses")


@pytest.mark.parametrize(
    "change",
    [
        {"action": "maybe"},
        {"action": True},
        {"share_percent": 0},
        {"share_percent": 0.5},
        {"share_percent": "half"},
        {"share_percent": "30"},
        {"share_percent": 1e9},
        {"share_percent": True},
        {"ranking": "luck"},
        {"reason": None},
        {"command": "rm"},
    ],
)
def test_anything_else_is_no_answer(change):
    with pytest.raises(ValidationError):
        Answer.model_validate_json(json.dumps(ANSWER | change))


@pytest.mark.parametrize(
    "change",
    [
        {"share_percent": "50"},
        {"share_percent": "50%"},
        {"share_percent": " 50.0 %"},
        {"share_percent": 50.0},
        {"action": "Replace"},
        {"action": "REPLACE "},
        {"ranking": "Recent"},
    ],
)
def test_what_can_mean_only_one_thing_is_taken_for_it(change):
    meant = Answer.model_validate_json(json.dumps(ANSWER))
    assert Answer.model_validate_json(json.dumps(ANSWER | change)) == meant
    assert Answer.model_validate(ANSWER | change) == meant


def test_words_are_made_fit_for_a_log():
    answer = Answer.model_validate_json(json.dumps(ANSWER | {"reason": "a\x1b[31m\nb " + "x" * 1_000}))
    assert answer.reason.startswith("a [31m b xxx")
    assert len(answer.reason) == 120


def test_the_schema_reasons_first_and_bounds_everything():
    assert list(ANSWER_SCHEMA["properties"]) == ["reason", "action", "share_percent", "ranking", "expected_impact"]
    assert ANSWER_SCHEMA["additionalProperties"] is False
    for name, field in ANSWER_SCHEMA["properties"].items():
        assert {"enum", "maxLength"} & set(field), name
