"""The one rule by which an answer is found in what a server sends."""

from __future__ import annotations

import pytest
from model_server import GOOD

from agents.llm.provider import Reply
from agents.llm.reading import Unusable, find_answer, read
from agents.llm.schema import Answer

MEANT = Answer.model_validate_json(GOOD)
SKIP = GOOD.replace("replace", "skip")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Here is my answer:\n\n```json\n{GOOD}\n```\nI hope that {{this}} helps.",
        f"<think>\nFirst I would {SKIP}, but then\n</think>\n\n{GOOD}",
        f"I would {SKIP}, but then </think>{GOOD}",
        f"<think>one</think><think>{SKIP}</think>{GOOD}",
        f"{GOOD}\n{GOOD}",
        GOOD.replace("50", '"50"'),
        '{"decision": "now"} ' + GOOD,
    ],
)
def test_the_answer_is_the_one_object_that_keeps_the_schema(text):
    assert find_answer(text) == MEANT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Yes, replace now.",
        GOOD[:-1],
        f"{GOOD} or rather {SKIP}",
        f'{{"answer": {GOOD}}}',
        f"[{GOOD.replace('50', '75')}]",
        f"<think>{GOOD}</think> So be it.",
        '{"a":' * 50_000,
        "{" * 50_000,
        "[" * 50_000,
    ],
)
def test_anything_else_is_none(text):
    assert find_answer(text) is None


def test_thoughts_are_read_only_where_there_is_no_text():
    assert read(Reply(text=" ", thoughts=GOOD)) == MEANT
    with pytest.raises(Unusable, match="unusable answer: Well"):
        read(Reply(text="Well", thoughts=GOOD))


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(text="Well"), "invalid"),
        (Reply(text=""), "invalid"),
        (Reply(text=GOOD[:30], cut=True), "truncated"),
        (Reply(text="", cut=True), "thinking"),
        (Reply(text="", thoughts="Well"), "thinking"),
        (Reply(text="<think> Well", cut=True), "thinking"),
        (Reply(text="<think>Well</think>"), "invalid"),
        (Reply(text=GOOD, refusal="I'd rather not"), "refused"),
    ],
)
def test_what_came_instead_is_told_apart(reply, outcome):
    with pytest.raises(Unusable) as unusable:
        read(reply)
    assert unusable.value.outcome == outcome


def test_an_answer_that_is_whole_counts_though_something_was_cut_off_after_it():
    assert read(Reply(text=f"{GOOD}\nThat is because", cut=True)) == MEANT
