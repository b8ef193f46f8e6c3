"""A cache of answers on disk: a model is asked an equal question only once, in whatever run.

The key is made of the provider's identity (the model and its digest, the server's version, the way of asking and its
options), the prompt and the answer's schema; not of the host, since the same model answers alike elsewhere. Only usable
answers are kept, so that a server is asked again once it has been fixed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.llm.provider import Question

CACHE_FOLDER = "XDG_CACHE_HOME"
"""Environment variable with the folder for cached files; the default is ~/.cache."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What a model said, and how long that took it when it was asked."""

    text: str
    latency_s: float


class AnswerCache:
    """A folder with a small JSON file an answer. Runs may share it: files appear whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, identity: dict[str, Any], question: Question) -> StoredAnswer | None:
        """The answer to an equal question, if there is one. A file that is damaged counts as none."""
        try:
            stored = json.loads(self._path(identity, question).read_text())
            text, latency_s = stored["text"], stored["latency_s"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(text, str) or not isinstance(latency_s, float) or not 0.0 <= latency_s < math.inf:
            return None
        return StoredAnswer(text, latency_s)

    def store(self, identity: dict[str, Any], question: Question, answer: StoredAnswer) -> None:
        """Keep an answer. Where the folder can't be written to, the answer isn't kept, and the run goes on."""
        path = self._path(identity, question)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
                json.dump({**identity, **asdict(question), **asdict(answer)}, file)
            os.replace(file.name, path)
        except OSError:
            return

    def _path(self, identity: dict[str, Any], question: Question) -> Path:
        key = json.dumps([identity, asdict(question)], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / digest[:2] / f"{digest}.json"


def default_folder() -> Path:
    """Where answers are kept: `rudder-twin/answers` in the user's cache."""
    return Path(os.environ.get(CACHE_FOLDER) or Path.home() / ".cache") / "rudder-twin" / "answers"
