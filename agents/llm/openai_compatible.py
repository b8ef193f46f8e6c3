"""Models behind OpenAI's chat API, as vLLM, llama.cpp, SGLang, LM Studio and others serve it.

Speaks the one call that it needs over httpx: the API is the common ground of many servers, and the official client adds
retries and redirections that would have to be turned off again.
"""

from __future__ import annotations

import os
import re
from typing import Any

from agents.llm.policy import LLMPolicy
from agents.llm.provider import Question, require_model_calls
from agents.registry import ModelOptions
from traces.errors import InputError

try:
    import httpx
except ModuleNotFoundError as error:
    raise InputError(f"openai:MODEL needs the package {error.name!r}: pip install 'rudder-twin[openai]'") from None

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
"""Whatever servers call their models; it is sent as a value, and never becomes part of an address."""

HOST = re.compile(r"[A-Za-z0-9._:-]+")
"""A host's name or address; httpx lets more through."""

LOAD_TIMEOUT_S = 300.0
"""Some servers load a model at the first question."""

ANSWER_TOKENS = 512


class OpenAICompatible:
    """One model of one server (`agents.llm.provider.Provider`).

    The address comes from `ModelOptions.host` or `OPENAI_BASE_URL` and from nowhere else: no prompt leaves for a host
    that nobody named. Redirections are not followed, and no proxy or password is taken from the environment, but for
    the key in `OPENAI_API_KEY`.
    """

    def __init__(self, model: str, reach: ModelOptions) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InputError(
                f"{model!r} is no model's name: write openai:MODEL as the server calls it (GET /v1/models)"
            )
        host = reach.host or os.environ.get("OPENAI_BASE_URL")
        if not host:
            raise InputError(
                "openai:MODEL needs the address of a server: --model-host or OPENAI_BASE_URL, http://HOST:PORT/v1"
            )
        self._model, self._host, self._timeout_s = model, host.rstrip("/"), reach.timeout_s
        self._url = f"{self._host}/chat/completions"
        try:
            url = httpx.URL(self._url)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not HOST.fullmatch(url.host):
            raise InputError(f"{host!r} is no address of a server: give --model-host or OPENAI_BASE_URL as "
                             "http://HOST:PORT/v1")  # fmt: skip
        self.identity = {"provider": "openai", "model": model, "temperature": 0.0, "max_tokens": ANSWER_TOKENS}

    def start(self) -> None:
        """Let the model answer one word. Raises `InputError` where no server answers, or it can't run the model."""
        require_model_calls()
        question = {"messages": [{"role": "user", "content": "ok?"}], "max_tokens": 1}
        try:
            answer = self._post(question, LOAD_TIMEOUT_S)
        except httpx.TransportError as error:
            raise InputError(f"no server answers at {self._host} ({type(error).__name__})") from None
        if answer.status_code == 404:
            raise InputError(f"the server at {self._host} has no model {self._model!r}, or its API is not below there")
        if answer.status_code != 200:
            raise InputError(f"the server at {self._host} can't run {self._model!r}: status {answer.status_code}")
        try:
            _content(answer)
        except ValueError:
            raise InputError(f"what answers at {self._host} does not speak OpenAI's chat API") from None

    def ask(self, question: Question) -> str:
        """The model's answer. Raises `TimeoutError`, or what went wrong."""
        try:
            answer = self._post(
                {
                    "messages": [
                        {"role": "system", "content": question.system},
                        {"role": "user", "content": question.user},
                    ],
                    "temperature": 0.0,
                    "seed": question.seed % 2**31,
                    "max_tokens": ANSWER_TOKENS,
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "answer", "strict": True, "schema": question.schema},
                    },
                },
                self._timeout_s,
            )
        except httpx.TimeoutException as error:
            raise TimeoutError from error
        if answer.status_code != 200:
            raise RuntimeError(f"status {answer.status_code}: {answer.text[:200]}")
        return _content(answer)

    def _post(self, body: dict[str, Any], timeout_s: float) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get("OPENAI_API_KEY")) else {}
        with httpx.Client(timeout=timeout_s, follow_redirects=False, trust_env=False) as client:
            return client.post(self._url, json={"model": self._model, **body}, headers=headers)


def openai_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `openai:MODEL`. Raises `InputError` without a server's address."""
    return LLMPolicy(f"openai:{name}", OpenAICompatible(name, model), model)


def _content(answer: httpx.Response) -> str:
    """What the model said. Raises `ValueError` for anything that is not such an answer."""
    try:
        content = answer.json()["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError, ValueError, RecursionError):
        raise ValueError("the answer is not one of OpenAI's chat API") from None
    if not isinstance(content, str | None):
        raise ValueError("the answer's content is no text")
    return content or ""
