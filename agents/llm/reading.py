"""Finding the answer in a reply, by one rule for all servers.

1. What stands before the last `</think>` is not looked at.
2. In the rest the answer is the one JSON object that keeps the schema (`agents.llm.schema.Answer`), alone, in a
   Markdown fence, or among words. Two that differ are none, and so is one inside another object.
3. Where there is no text at all, the answer is looked for in what the server calls the model's thoughts.
"""

from __future__ import annotations

import json

from pydantic import ValidationError

from agents.llm.provider import Reply
from agents.llm.schema import Answer
from agents.policy import Outcome

LONGEST = 2**16
"""Characters that are searched for an answer. Schemas and token limits keep replies far shorter."""

END_OF_THOUGHTS = "</think>"


class Unusable(Exception):
    """A reply without an answer: what became of the question, and why in words."""

    def __init__(self, outcome: Outcome, why: str) -> None:
        super().__init__(why)
        self.outcome = outcome


def read(reply: Reply) -> Answer:
    """The answer in a reply. Raises `Unusable`."""
    if reply.refusal:
        raise Unusable("refused", f"the model refused: {reply.refusal[:200]}")
    if answer := find_answer(said(reply)):
        return answer
    text = reply.text.strip()
    thinks = text.startswith("<think>") and END_OF_THOUGHTS not in text
    if thinks or (not text and (reply.thoughts.strip() or reply.cut)):
        limit = ", up to the limit of tokens" if reply.cut else ""
        raise Unusable("thinking", f"thoughts and no answer{limit}: {said(reply)[:200]}")
    if reply.cut:
        raise Unusable("truncated", f"cut off by the limit of tokens: {text[:200]}")
    raise Unusable("invalid", f"unusable answer: {text[:200]}")


def said(reply: Reply) -> str:
    """The text in which the answer is looked for."""
    return reply.text if reply.text.strip() else reply.thoughts


def find_answer(text: str) -> Answer | None:
    """The one answer in a text, by this module's rule."""
    text = text[:LONGEST].rpartition(END_OF_THOUGHTS)[2]
    found: list[Answer] = []
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        end = start + 1
        try:
            content, end = decoder.raw_decode(text, start)
            answer = Answer.model_validate(content)
        except (ValidationError, ValueError, RecursionError):
            pass
        else:
            if answer not in found:
                found.append(answer)
        start = text.find("{", end)
    return found[0] if len(found) == 1 else None
