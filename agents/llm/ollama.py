"""Models that an Ollama server runs, asked through the official client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from agents.llm.address import Address, address_of, ollama_address
from agents.llm.chat import raise_for, sentence_of
from agents.llm.policy import LLMPolicy
from agents.llm.probe import ANSWER_TOKENS, CONTEXT_TOKENS, PATIENCE_S, THINKING_TOKENS, NoWay, find_way
from agents.llm.provider import Declined, Question, Reply, ServerError, require_model_calls
from agents.llm.schema import SHAPE
from agents.policy import RunFacts
from agents.registry import POLICIES, ModelOptions
from traces.errors import InputError

try:
    import httpx
    import ollama
except ModuleNotFoundError as error:
    raise InputError(f"ollama:MODEL needs the package {error.name!r}: pip install 'rudder-twin[llm]'") from None

MODEL_NAME = re.compile(
    r"(([A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?/)?[A-Za-z0-9][A-Za-z0-9_-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*"
    r"(:[A-Za-z0-9][A-Za-z0-9._-]*)?"
)
"""[[host/]namespace/]model[:tag], as `ollama list` shows it. The host is where the model once came from: questions go
to the server that was named, and no server fetches a model to answer one."""

LOCAL = "http://127.0.0.1:11434"

KEEP_ALIVE = "30m"
"""The server keeps the model loaded for as long after an answer: longer than any window lasts."""


THINKING = {False: "off", "low": "low", None: "free"}
"""In words, what a `Way` says of thinking."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the schema is asked for (`format`, or in `words`), and what is said of thinking; None: nothing."""

    schema: Literal["format", "words"]
    think: Literal[False, "low"] | None

    def __str__(self) -> str:
        return f"{self.schema}, thinking {THINKING[self.think]}"

    def options(self, seed: int) -> dict[str, Any]:
        """Repeatable answers, with room for the prompt, for thoughts, and for the longest JSON of the schema."""
        limit = ANSWER_TOKENS if self.think is False else THINKING_TOKENS
        return {"temperature": 0.0, "seed": seed % 2**31, "num_ctx": CONTEXT_TOKENS, "num_predict": limit}


WAYS = (Way("format", False), Way("format", "low"), Way("format", None), Way("words", False), Way("words", None))
"""In the order in which they are tried, without thoughts first: a decision should take no longer than a minibatch."""


class Ollama:
    """One model of one Ollama server (`agents.llm.provider.Provider`).

    The address is `ModelOptions.host`, by default what `OLLAMA_HOST` says, or this machine. Redirections are not
    followed: what answers is the host that was named.
    """

    identity: dict[str, Any]
    answered_by: str

    def __init__(self, model: str, reach: ModelOptions) -> None:
        if not MODEL_NAME.fullmatch(model):
            raise InputError(
                f"{model!r} is no name of a local model: write ollama:MODEL or ollama:MODEL:TAG as `ollama list` shows "
                "it, with letters, digits, '.', '_', '-' and '/' (hf.co/USER/REPO:TAG is one)"
            )
        if full_name(model).rpartition(":")[2].lower().endswith("cloud"):
            raise InputError(
                f"{model!r}: the server would pass prompts on to ollama.com; use a model that it runs itself, "
                "or name that host with --ollama-host https://ollama.com"
            )
        self._hosts = reach.host or os.environ.get("OLLAMA_HOST") or LOCAL
        for host in self._hosts.split(","):
            ollama_address(host)  # wrong ones show up now
        self._model, self._timeout_s = model, reach.timeout_s

    def start(self, run: RunFacts) -> None:
        """Load the model, and find out how it answers. Raises `InputError` where no server answers, or it can't."""
        require_model_calls()
        address = ollama_address(address_of(self._hosts, run))
        address = address.with_key(os.environ.get("OLLAMA_API_KEY", ""), "OLLAMA_API_KEY")
        where = address.url
        try:
            self._server = server = _loaded(address, self._model)
            self._way = way = _way_of(server, self._timeout_s)
        except NoWay as error:
            raise InputError(f"the Ollama server at {where} can't run {self._model!r} as an agent: {error}") from None
        except httpx.TimeoutException:
            raise InputError(f"the Ollama server at {where} gave no answer within {PATIENCE_S:g} s") from None
        except (ConnectionError, httpx.TransportError) as error:
            raise InputError(
                f"no Ollama server answers at {where} ({type(error).__name__}): start one with `ollama serve`, "
                f"or name its host with --ollama-host or OLLAMA_HOST; {_without_model()}"
            ) from None
        except Declined as error:
            if error.status == 404:
                raise InputError(
                    f"the Ollama server at {where} has no model {self._model!r}: get it with "
                    f"`ollama pull {self._model}`; {_without_model()}"
                ) from None
            raise InputError(f"the Ollama server at {where} refuses to run {self._model!r}: {error}") from None
        except ServerError as error:
            raise InputError(f"the Ollama server at {where} can't run {self._model!r}: {error}") from None
        except Exception as error:  # the client lets through whatever a malformed answer makes it stumble over
            raise InputError(f"what answers at {where} is no Ollama server ({type(error).__name__})") from None
        self._client = _client(address, self._timeout_s)
        self.identity = {
            "provider": "ollama",
            "model": self._model,
            "digest": server.digest,
            "version": server.version,
            "way": str(way),
            **way.options(seed=0),
        }
        who = f"{full_name(self._model)} {server.digest[:12]}".strip()
        self.answered_by = f"{f'ollama {server.version}'.strip()}: {who}; {way}"

    def ask(self, question: Question) -> Reply:
        """The model's answer. Raises `TimeoutError`, or whatever the client raises."""
        try:
            return self._server.ask(self._client, self._way, question)
        except httpx.TimeoutException as error:
            raise TimeoutError from error


@dataclass(frozen=True, slots=True)
class _Server:
    """A model at an address, the server's version and the model's digest, as far as it tells."""

    address: Address
    model: str
    version: str
    digest: str

    def ask(self, client: ollama.Client, way: Way, question: Question) -> Reply:
        words = f"\n{SHAPE}" if way.schema == "words" else ""
        with _sentences(self.address):
            answer = client.chat(
                self.model,
                messages=[
                    {"role": "system", "content": question.system + words},
                    {"role": "user", "content": question.user},
                ],
                format=question.schema if way.schema == "format" else None,
                options=way.options(question.seed),
                keep_alive=KEEP_ALIVE,
                think=way.think,
            )
        text, thoughts = (self.address.hide(said or "") for said in (answer.message.content, answer.message.thinking))
        return Reply(text=text, thoughts=thoughts, cut=answer.done_reason == "length")


@cache  # all trainers of a simulated run ask alike
def _way_of(server: _Server, timeout_s: float) -> Way:
    with _client(server.address, PATIENCE_S) as client:
        return find_way(WAYS, lambda way, question: server.ask(client, way, question), timeout_s)


def _loaded(address: Address, model: str) -> _Server:
    """The server, once it has loaded the model. Raises what the client raises, and `Declined` and `ServerError`."""
    with _client(address, PATIENCE_S) as client:
        with _sentences(address):
            # No prompt: the server loads the model and answers at once. The options are those of the questions to
            # come, since a server loads a model anew for another context length.
            client.generate(model, options=WAYS[0].options(seed=0), keep_alive=KEEP_ALIVE)
        try:
            version = httpx.get(f"{address.url}/api/version", headers=dict(address.headers)).json()["version"]
            models = {one.model: one.digest for one in client.list().models}
        except Exception:  # some servers of this API answer questions and nothing else
            version, models = "", {}
    return _Server(address, model, str(version), models.get(full_name(model)) or "")


@contextmanager
def _sentences(address: Address) -> Iterator[None]:
    """Errors of the server with its own sentence, and without a secret."""
    try:
        yield
    except ollama.ResponseError as error:
        raise_for(error.status_code, address.hide(str(error.error)))
        raise ServerError(sentence_of(address.hide(str(error.error)))) from None


def full_name(model: str) -> str:
    """The name with its tag."""
    return model if ":" in model.rpartition("/")[2] else f"{model}:latest"


def ollama_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `ollama:MODEL`. Raises `InputError` for a name that can't be a local model's."""
    return LLMPolicy(f"ollama:{name}", Ollama(name, model), model)


def _client(address: Address, timeout_s: float) -> ollama.Client:
    return ollama.Client(address.url, timeout=timeout_s, follow_redirects=False, headers=dict(address.headers))


def _without_model() -> str:
    usages = [entry.usage for entry in POLICIES.values() if not entry.calls_model]
    return f"policies that need no model: {', '.join(usages)}"
