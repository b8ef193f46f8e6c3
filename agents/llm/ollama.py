"""Models that an Ollama server runs, asked through the official client."""

from __future__ import annotations

import os
import re
from typing import Any

from agents.llm.policy import LLMPolicy
from agents.llm.provider import Question, require_model_calls
from agents.registry import POLICIES, ModelOptions
from traces.errors import InputError

try:
    import httpx
    import ollama
except ModuleNotFoundError as error:
    raise InputError(f"ollama:MODEL needs the package {error.name!r}: pip install 'rudder-twin[llm]'") from None

MODEL_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9][A-Za-z0-9._-]*)?")
"""[namespace/]model[:tag]. A namespace has no dot: a name can't hold a host."""

LOAD_TIMEOUT_S = 300.0
"""Loading a large model from a slow disk takes minutes; it happens once, before the run."""

KEEP_ALIVE = "30m"
"""The server keeps the model loaded for as long after an answer: longer than any window lasts."""


class Ollama:
    """One model of one Ollama server (`agents.llm.provider.Provider`).

    `host` is an address as `OLLAMA_HOST` takes it; None means what that variable says, or this machine. Redirections
    are not followed: what answers is the host that was named.
    """

    def __init__(self, model: str, reach: ModelOptions) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InputError(
                f"{model!r} is no name of a local model: write ollama:MODEL or ollama:MODEL:TAG, with letters, digits, "
                "'.', '_' and '-' (`ollama list` shows what there is, `ollama cp` gives a model a plain name)"
            )
        if model.partition(":")[2].lower().endswith("cloud"):
            raise InputError(
                f"{model!r}: the server would pass prompts on to ollama.com; use a model that it runs itself, "
                "or name that host with --ollama-host https://ollama.com"
            )
        self._model = model
        self._host = reach.host or os.environ.get("OLLAMA_HOST") or "http://127.0.0.1:11434"
        self._client = self._connect(reach.timeout_s)
        self.identity = {"provider": "ollama", "model": model, **_options(seed=0)}

    def start(self) -> None:
        """Load the model. Raises `InputError` where no server answers, or it can't run the model."""
        require_model_calls()
        try:
            # No prompt: the server loads the model and answers at once. The options are those of the questions to
            # come, since a server loads a model anew for another context length.
            with self._connect(LOAD_TIMEOUT_S) as patient:
                patient.generate(self._model, options=_options(seed=0), keep_alive=KEEP_ALIVE)
        except (ConnectionError, httpx.TransportError) as error:
            raise InputError(
                f"no Ollama server answers at {self._host} ({type(error).__name__}): start one with `ollama serve`, "
                f"or name its host with --ollama-host or OLLAMA_HOST; {_without_model()}"
            ) from None
        except ollama.ResponseError as error:
            if error.status_code == 404:
                raise InputError(
                    f"the Ollama server at {self._host} has no model {self._model!r}: get it with "
                    f"`ollama pull {self._model}`; {_without_model()}"
                ) from None
            raise InputError(f"the Ollama server at {self._host} can't run {self._model!r}: {error}") from None
        except Exception as error:  # the client lets through whatever a malformed answer makes it stumble over
            raise InputError(f"what answers at {self._host} is no Ollama server ({type(error).__name__})") from None

    def ask(self, question: Question) -> str:
        """The model's answer. Raises `TimeoutError`, or whatever the client raises."""
        try:
            response = self._client.chat(
                self._model,
                messages=[
                    {"role": "system", "content": question.system},
                    {"role": "user", "content": question.user},
                ],
                format=question.schema,
                options=_options(question.seed),
                keep_alive=KEEP_ALIVE,
                think=False,  # a decision should take no longer than a minibatch
            )
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        return response.message.content or ""

    def _connect(self, timeout_s: float) -> ollama.Client:
        try:
            return ollama.Client(self._host, timeout=timeout_s, follow_redirects=False)
        except (ValueError, httpx.InvalidURL) as error:
            raise InputError(
                f"{self._host!r} is no address of an Ollama server ({error}): give --ollama-host or OLLAMA_HOST "
                "as http://HOST:PORT"
            ) from None


def ollama_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `ollama:MODEL`. Raises `InputError` for a name that can't be a local model's."""
    return LLMPolicy(f"ollama:{name}", Ollama(name, model), model)


def _options(seed: int) -> dict[str, Any]:
    """Repeatable answers, room for the prompt, and room for the longest JSON that the schema allows."""
    return {"temperature": 0.0, "seed": seed % 2**31, "num_ctx": 4096, "num_predict": 512}


def _without_model() -> str:
    usages = [entry.usage for entry in POLICIES.values() if not entry.calls_model]
    return f"policies that need no model: {', '.join(usages)}"
