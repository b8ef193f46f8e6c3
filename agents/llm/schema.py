"""The JSON schema of an answer, which servers enforce while generating.

Where a server doesn't enforce it, two deviations are accepted: a choice in capitals or with blanks around it, and a
number as text, with or without a percent sign ("50 %" for 50).

Choices are enumerated rather than ranges of numbers, since grammars can enforce only the former. Words come before the
choice, so that a model reasons before it decides.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agents.policy import Decision, Ranking

WORDS_MAX = 120
"""Characters of `reason` and of `expected_impact`; longer ones are cut, for a wordy answer still decides."""


SENTENCE_MAX = 300
"""Characters of what a server says in an error."""

NUMBER = re.compile(r"\s*(\d{1,3})(?:\.0+)?\s*%?\s*")


def one_line(text: str, longest: int = WORDS_MAX) -> str:
    """The text in one printable line of limited length, for logs and terminals."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:longest]


def _choice(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _number(value: Any) -> Any:
    number = NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(number[1]) if number else value


Words = Annotated[str, AfterValidator(one_line), Field(json_schema_extra={"maxLength": WORDS_MAX})]


class Answer(BaseModel):
    """A model's answer. `model_validate` raises `pydantic.ValidationError` for anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Words
    action: Annotated[Literal["replace", "skip"], BeforeValidator(_choice)]
    share_percent: Annotated[Literal[25, 50, 100], BeforeValidator(_number)]
    ranking: Annotated[Ranking, BeforeValidator(_choice)]
    expected_impact: Words

    def decision(self, text: str, latency_s: float, answered_by: str = "") -> Decision:
        """The decision that it stands for, kept with its `text`; how much and by which ranking matter only to a
        replacement."""
        skip = Decision(
            replace=False,
            reason=self.reason,
            expected_impact=self.expected_impact,
            answer=text,
            latency_s=latency_s,
            answered_by=answered_by,
        )
        if self.action == "skip":
            return skip
        return replace(skip, replace=True, share=self.share_percent / 100, ranking=self.ranking)


ANSWER_SCHEMA: dict[str, Any] = Answer.model_json_schema()
"""The JSON schema of `Answer`, for a provider to enforce."""

SHAPE = """\
Answer with one JSON object of this shape and nothing else:
{"reason": "a few words", "action": "replace" or "skip", "share_percent": 25 or 50 or 100, \
"ranking": "misses" or "recent" or "degree", "expected_impact": "a few words"}"""
"""The schema in words, for a model whose server enforces none."""
