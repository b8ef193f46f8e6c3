"""A stand-in for a model, which answers with the lines of a file: for tests, and for trying a run without a model."""

from __future__ import annotations

from agents.files import read_file
from agents.llm.policy import LLMPolicy
from agents.llm.provider import Question, Reply
from agents.policy import RunFacts
from agents.registry import ModelOptions
from traces.errors import InputError


class Scripted:
    """Answers with one line of a text file after the other, and starts again at its end."""

    def __init__(self, path: str) -> None:
        self._lines = read_file("scripted", path).decode(errors="replace").splitlines()
        if not self._lines:
            raise InputError(f"scripted:{path}: the file is empty; write an answer a line")
        self.identity = {"provider": "scripted", "lines": self._lines}
        self.answered_by = "a script"
        self._asked = 0

    def start(self, run: RunFacts) -> None:
        """Begin with the first line."""
        self._asked = 0

    def ask(self, question: Question) -> Reply:
        """The next line."""
        self._asked += 1
        return Reply(text=self._lines[(self._asked - 1) % len(self._lines)])


def scripted_policy(name: str, model: ModelOptions) -> LLMPolicy:
    """The policy behind `scripted:FILE`. Its answers are never kept: they depend on how many came before."""
    reach = ModelOptions(timeout_s=model.timeout_s, keep_answers=False)
    return LLMPolicy(f"scripted:{name}", Scripted(name), reach)
