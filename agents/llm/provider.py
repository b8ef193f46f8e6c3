"""What a policy needs of whoever runs the model. One file a provider sits beside this one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

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


class Provider(Protocol):
    """Answers questions, as repeatably as the model allows: at temperature 0, with the question's seed.

    `identity` says what answers, as JSON: provider, model and options. Equal questions to equal identities are one.
    """

    identity: dict[str, Any]

    def start(self) -> None:
        """Make ready: load the model, so that the first answer isn't charged for it.

        Raises `InputError`, saying what to do, where the model can't be asked. Calls `require_model_calls` first.
        """

    def ask(self, question: Question) -> str:
        """The model's answer, as it came. Raises `TimeoutError` where none comes in time, else what went wrong."""


def require_model_calls() -> None:
    """Raises `InputError` where the environment forbids calls of real models."""
    if os.environ.get(MODEL_CALLS) == "forbid":
        raise InputError(f"calls of language models are forbidden here: {MODEL_CALLS}=forbid is set")
