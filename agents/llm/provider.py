"""The interface between the policy and a model's provider. Each provider has a file beside this one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

from agents.policy import RunFacts
from traces.errors import InputError

MODEL_CALLS = "RUDDER_TWIN_MODEL_CALLS"
"""Environment variable; "forbid" lets no provider start, so that tests can't call a real model unnoticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All that an answer depends on, beside the model: two texts, the answer's JSON schema, and the seed."""

    system: str
    user: str
    schema: dict[str, Any]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: the answer's `text`, what the server calls `thoughts`, whether the limit of tokens `cut` it off,
    and the words of a `refusal` by the model or a filter."""

    text: str
    thoughts: str = ""
    cut: bool = False
    refusal: str = ""


class Declined(Exception):
    """The server declines the request as it is; the message is its own sentence, `status` that of HTTP."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class ServerError(Exception):
    """The server fails, and says so; the message is its own sentence."""


class Provider(Protocol):
    """Answers questions, as repeatably as the model allows: at temperature 0, with the question's seed.

    From `start` on, `identity` says what answers, as JSON: provider, model and its digest, the server's version, the
    way of asking and its options; equal questions to equal identities are one. `answered_by` says the same in a line.
    Neither holds a host or a secret.
    """

    identity: dict[str, Any]
    answered_by: str

    def start(self, run: RunFacts) -> None:
        """Get ready for the trainer of `run`: load the model, so that loading doesn't count as the first answer's
        latency, and find out how to get usable answers (`agents.llm.probe`).

        Raises `InputError`, saying what to do, where it gives none. Calls `require_model_calls` first.
        """

    def ask(self, question: Question) -> Reply:
        """The model's answer, as it came. Raises `TimeoutError` where none comes in time, `Declined`, `ServerError`,
        else what went wrong; messages hold no secret."""


def require_model_calls() -> None:
    """Raises `InputError` where the environment forbids calls of real models."""
    if os.environ.get(MODEL_CALLS) == "forbid":
        raise InputError(f"calls of language models are forbidden here: {MODEL_CALLS}=forbid is set")
