"""Finding out, before a run, how a model on a server gives answers that can be used.

Servers differ: one ignores the JSON schema when thinking is off, another thinks until its tokens are used up, a third
has no schemas at all. So the ways of asking are tried in order, and the first one that gives a usable answer is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import TypeVar

from agents.llm.provider import Declined, Question, Reply, ServerError
from agents.llm.reading import Unusable, read
from agents.llm.schema import ANSWER_SCHEMA, SENTENCE_MAX, one_line
from agents.policy import Outcome

ANSWER_TOKENS = 512
"""Room for the longest JSON that the schema allows."""

THINKING_TOKENS = 3072
"""Room for thoughts and an answer, where a model can't be kept from thinking."""

CONTEXT_TOKENS = 4096
"""Room for a prompt and an answer together."""

PATIENCE_S = 300.0
"""How long the first answer may take: loading a large model from a slow disk takes minutes."""

PROBE = Question(
    system="You steer a buffer of remote node features. Actions: skip keeps it, replace swaps share_percent of its "
    "stale rows for candidates, ranked by misses, recent or degree. Answer in JSON: short reason, action, "
    "share_percent, ranking, expected_impact.",
    user="Hit rate is ZERO. Stale rows: 300. Candidates: 900. Replace or skip?",
    schema=ANSWER_SCHEMA,
    seed=0,
)
"""A question of the kind that a run asks, and a short one."""

Way = TypeVar("Way")


class NoWay(Exception):
    """No way of asking brings a usable answer; the message says what came instead."""


def find_way(ways: Sequence[Way], ask: Callable[[Way, Question], Reply], timeout_s: float) -> Way:
    """The first of `ways` in which the model gives a usable answer.

    Raises `NoWay`: where none does, or where a second answer, when all is warm, takes longer than `timeout_s` again.
    What `ask` raises goes on, but for `Declined` and `ServerError`.
    """
    came: dict[Outcome, list[str]] = {}
    for way in ways:
        outcome, words, took_s = _attempt(way, ask)
        if outcome == "valid" and took_s > timeout_s:  # something had to be loaded or evaluated first
            outcome, words, took_s = _attempt(way, ask)
        if outcome == "valid":
            if took_s <= timeout_s:
                return way
            raise NoWay(
                f"an answer takes {took_s:.1f} s, longer than {timeout_s:g} s: give more with --timeout-s, or take a "
                "smaller model"
            )
        came.setdefault(outcome, []).append(words)
    summary = "; ".join(f"{outcome} in {len(texts)} ({texts[0]})" for outcome, texts in came.items())
    raise NoWay(f"no usable answer in {len(ways)} ways of asking: {summary}")


def _attempt(way: Way, ask: Callable[[Way, Question], Reply]) -> tuple[Outcome, str, float]:
    """What became of the question, the words of what came instead of an answer, and how long it took."""
    started = perf_counter()
    try:
        read(ask(way, PROBE))
    except Unusable as error:
        return error.outcome, one_line(str(error)), 0.0
    except Declined as error:
        return "refused", f"the server says: {one_line(str(error), SENTENCE_MAX)}", 0.0
    except ServerError as error:
        return "failed", one_line(str(error), SENTENCE_MAX), 0.0
    return "valid", "", perf_counter() - started
