"""What a model answers: JSON of this schema, which servers enforce while it is written.

Choices are enumerated rather than ranges of numbers, since grammars can enforce only the former. Words come before the
choice, so that a model reasons before it decides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agents.policy import Decision, Ranking

WORDS_MAX = 120
"""Characters of `reason` and of `expected_impact`; longer ones are cut, for a wordy answer still decides."""


def one_line(text: str) -> str:
    """Printable and short: what a model or its server says goes to logs and terminals."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:WORDS_MAX]


Words = Annotated[str, AfterValidator(one_line), Field(json_schema_extra={"maxLength": WORDS_MAX})]


class Answer(BaseModel):
    """A model's answer. `model_validate_json` raises `pydantic.ValidationError` for anything else."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    reason: Words
    action: Literal["replace", "skip"]
    share_percent: Literal[25, 50, 100]
    ranking: Ranking
    expected_impact: Words

    def decision(self, text: str, latency_s: float) -> Decision:
        """The decision that it stands for, kept with its `text`; how much and by which ranking matter only to a
        replacement."""
        skip = Decision(
            replace=False,
            reason=self.reason,
            expected_impact=self.expected_impact,
            answer=text,
            latency_s=latency_s,
        )
        if self.action == "skip":
            return skip
        return replace(skip, replace=True, share=self.share_percent / 100, ranking=self.ranking)


ANSWER_SCHEMA: dict[str, Any] = Answer.model_json_schema()
"""The JSON schema of `Answer`, for a provider to enforce."""
