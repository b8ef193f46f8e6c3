"""OpenAI's chat API: the ways to ask for JSON that its servers know, what is sent, and what an answer says.

Servers of this API differ: what one enforces, another ignores, and a third refuses.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from agents.llm.probe import ANSWER_TOKENS, THINKING_TOKENS
from agents.llm.provider import Declined, Question, Reply, ServerError
from agents.llm.schema import SENTENCE_MAX, SHAPE, one_line

OPTIONAL = ("max_tokens", "temperature", "seed")
"""Fields that some models refuse: they are left out then, and the first is called `max_completion_tokens`."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the schema is asked for, and what is said of thinking: nothing, "off", "low", or "free" (with room for it).

    `grammar` stands for the servers' own fields: llama.cpp's `json_schema`, vLLM's `structured_outputs` and, before
    that, `guided_json`. `words` enforces nothing: the shape of an answer is said in the prompt.
    """

    schema: Literal["response_format", "grammar", "words"]
    thinking: Literal["", "off", "low", "free"] = ""

    def __str__(self) -> str:
        return f"{self.schema}, thinking {self.thinking}" if self.thinking else self.schema

    @property
    def max_tokens(self) -> int:
        """The limit of tokens for an answer, thoughts included."""
        return THINKING_TOKENS if self.thinking in ("low", "free") else ANSWER_TOKENS


WAYS = (
    Way("response_format"),
    Way("response_format", "off"),
    Way("response_format", "low"),
    Way("response_format", "free"),
    Way("grammar"),
    Way("grammar", "off"),
    Way("words"),
    Way("words", "off"),
    Way("words", "free"),
)
"""In the order in which they are tried: schemas that the server enforces first, then schemas in the prompt; without
thinking first, then with it."""


def body(way: Way, question: Question, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The request, but for the model's name; `without` are those of `OPTIONAL` that the server refuses."""
    words = f"\n{SHAPE}" if way.schema == "words" else ""
    asked: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": question.system + words},
            {"role": "user", "content": question.user},
        ],
        "temperature": 0.0,
        "seed": question.seed % 2**31,
        "max_tokens": way.max_tokens,
    }
    if "max_tokens" in without:
        asked["max_completion_tokens"] = way.max_tokens
    asked = {name: value for name, value in asked.items() if name not in without}
    schema = question.schema
    if way.schema == "response_format":
        form = {"name": "answer", "strict": True, "schema": schema}
        asked["response_format"] = {"type": "json_schema", "json_schema": form}
    elif way.schema == "grammar":
        asked |= {"json_schema": schema, "structured_outputs": {"json": schema}, "guided_json": schema}
    if way.thinking == "off":
        asked["chat_template_kwargs"] = {"enable_thinking": False}
    elif way.thinking == "low":
        asked["reasoning_effort"] = "low"
    return asked


def reply_of(answer: Any) -> Reply:
    """What an answer says. Raises `ValueError` for anything that is not one of this API."""
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        texts = [message.get(name) for name in ("content", "refusal", "reasoning_content", "reasoning")]
        ended = choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("the answer is not one of OpenAI's chat API") from None
    if not all(isinstance(text, str | None) for text in texts):
        raise ValueError("the answer's content is no text")
    content, refusal, *thoughts = (text or "" for text in texts)
    if ended == "content_filter":
        refusal = refusal or "a content filter ended the answer"
    return Reply(text=content, thoughts=thoughts[0] or thoughts[1], cut=ended == "length", refusal=refusal)


def raise_for(status: int, text: str) -> None:
    """Raise what an answer's status says, with the server's own sentence: `Declined` for 400 to 499, `ServerError` for
    anything else but 200."""
    if status == 200:
        return
    sentence = f"status {status}: {sentence_of(text)}".removesuffix(": ")
    raise Declined(sentence, status) if 400 <= status < 500 else ServerError(sentence)


def sentence_of(text: str) -> str:
    """The sentence in the body of an error, in whichever way a server wraps it."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = text
    while isinstance(content, dict):
        content = next(
            (content[name] for name in ("error", "message", "detail") if name in content), json.dumps(content)
        )
    return one_line(content if isinstance(content, str) else text, SENTENCE_MAX)


def refused_field(error: Declined, without: frozenset[str]) -> str | None:
    """The field of `OPTIONAL` that a server's sentence names, if it is still sent."""
    return next((name for name in OPTIONAL if name not in without and re.search(rf"\b{name}\b", str(error))), None)
