"""Models behind OpenAI's chat API, as vLLM, llama.cpp, SGLang, LM Studio and others serve it.

Makes the one call that it needs with httpx. The official client adds retries and redirections that would have to be
turned off.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from agents.llm.address import Address, address_of, openai_address
from agents.llm.chat import WAYS, Way, body, raise_for, refused_field, reply_of
from agents.llm.policy import LLMPolicy
from agents.llm.probe import PATIENCE_S, NoWay, find_way
from agents.llm.provider import Declined, Question, Reply, require_model_calls
from agents.policy import RunFacts
from agents.registry import ModelOptions
from traces.errors import InputError

try:
    import httpx
except ModuleNotFoundError as error:
    raise InputError(f"openai:MODEL needs the package {error.name!r}: pip install 'rudder-twin[openai]'") from None

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
"""Whatever servers call their models; it is sent as a value, and never becomes part of an address."""


FINAL = {
    401: "wants another key for {model!r}: set OPENAI_API_KEY, or write USER:PASSWORD@ before its host",
    403: "does not let this key ask {model!r}",
    404: "has no model {model!r}, or its API is not below this address, which mostly ends in /v1",
}
"""Errors that no other way of asking could avoid, by status."""


class OpenAICompatible:
    """One model of one server (`agents.llm.provider.Provider`).

    The address comes from `ModelOptions.host` or `OPENAI_BASE_URL` and from nowhere else: no prompt leaves for a host
    that nobody named. Redirections are not followed, and no proxy or password is taken from the environment, but for
    the key in `OPENAI_API_KEY`.
    """

    identity: dict[str, Any]
    answered_by: str

    def __init__(self, model: str, reach: ModelOptions) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InputError(
                f"{model!r} is no model's name: write openai:MODEL as the server calls it (GET /v1/models)"
            )
        hosts = reach.host or os.environ.get("OPENAI_BASE_URL")
        if not hosts:
            raise InputError(
                "openai:MODEL needs the address of a server: --model-host or OPENAI_BASE_URL, http://HOST:PORT/v1"
            )
        for host in hosts.split(","):
            openai_address(host)  # wrong ones show up now
        self._model, self._hosts, self._timeout_s = model, hosts, reach.timeout_s

    def start(self, run: RunFacts) -> None:
        """Find out how the model answers. Raises `InputError` where no server answers, or it can't run the model."""
        require_model_calls()
        address = openai_address(address_of(self._hosts, run))
        address = address.with_key(os.environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY")
        client = httpx.Client(follow_redirects=False, trust_env=False, headers=dict(address.headers))
        self._server, where = _Server(address, self._model, client), address.url
        try:
            self._known = known = _known(self._server, self._timeout_s)
        except httpx.TimeoutException:
            raise InputError(f"the server at {where} gave no answer within {PATIENCE_S:g} s") from None
        except httpx.TransportError as error:
            raise InputError(f"no server answers at {where} ({type(error).__name__})") from None
        except NoWay as error:
            raise InputError(f"the server at {where} can't run {self._model!r} as an agent: {error}") from None
        except ValueError:
            raise InputError(f"what answers at {where} does not speak OpenAI's chat API") from None
        left_out = sorted(known.without)
        self.identity = {
            "provider": "openai",
            "model": self._model,
            "served": known.served,
            "version": known.version,
            "way": str(known.way),
            "max_tokens": known.way.max_tokens,
            "left_out": left_out,
        }
        who = f"{known.served or self._model} {known.version}".strip()
        self.answered_by = f"openai: {who}; {known.way}" + (f", without {', '.join(left_out)}" if left_out else "")

    def ask(self, question: Question) -> Reply:
        """The model's answer. Raises `TimeoutError`, or what went wrong."""
        try:
            return self._server.ask(body(self._known.way, question, self._known.without), self._timeout_s)[0]
        except httpx.TimeoutException as error:
            raise TimeoutError from error


@dataclass(frozen=True, slots=True)
class _Server:
    """A model at an address."""

    address: Address
    model: str
    client: httpx.Client = field(compare=False)

    def ask(self, asked: dict[str, Any], timeout_s: float) -> tuple[Reply, dict[str, Any]]:
        """The reply, and the whole answer that it is from."""
        url, asked = f"{self.address.url}/chat/completions", {"model": self.model, **asked}
        answer = self.client.post(url, json=asked, timeout=timeout_s)
        text = self.address.hide(answer.text)
        raise_for(answer.status_code, text)
        try:
            content = json.loads(text)
        except RecursionError:
            raise ValueError("the answer is no JSON") from None
        return reply_of(content), content

    def version(self, answer: dict[str, Any]) -> str:
        """What the server says of itself: the fingerprint in its answers, else its /version, as vLLM has it."""
        if isinstance(fingerprint := answer.get("system_fingerprint"), str):
            return fingerprint
        try:
            response = self.client.get(f"{self.address.url.removesuffix('/v1')}/version", timeout=PATIENCE_S)
            version = response.json()["version"] if response.status_code == 200 else ""
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return ""
        return version if isinstance(version, str) else ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was found out about a server: the way of asking, the fields that it refuses, and its version."""

    way: Way
    without: frozenset[str]
    served: str
    version: str


@cache  # all trainers of a simulated run ask alike
def _known(server: _Server, timeout_s: float) -> _Known:
    """Ask in every way, leaving out fields that the server refuses by name. Raises as `find_way`, and `InputError`."""
    without: frozenset[str] = frozenset()
    answer: dict[str, Any] = {}

    def ask(way: Way, question: Question) -> Reply:
        nonlocal without, answer
        try:
            reply, answer = server.ask(body(way, question, without), PATIENCE_S)
        except Declined as error:
            if error.status in FINAL:
                problem = FINAL[error.status].format(model=server.model)
                raise InputError(f"the server at {server.address.url} {problem} ({error})") from None
            if (field := refused_field(error, without)) is None:
                raise
            without |= {field}
            return ask(way, question)
        return reply

    way = find_way(WAYS, ask, timeout_s)
    served = answer.get("model")
    return _Known(way, without, served if isinstance(served, str) else "", server.version(answer))


def openai_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `openai:MODEL`. Raises `InputError` without a server's address."""
    return LLMPolicy(f"openai:{name}", OpenAICompatible(name, model), model)
