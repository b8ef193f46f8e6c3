"""What runs in a candidate's process, a fork of `sim.verifier.template`.

It confines itself, and only then gets the candidate's source, over a pipe. Requests are pickles that the asking process
made; replies are bytes that it takes apart itself, and never a pickle.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
from collections.abc import Callable
from traceback import walk_tb
from types import ModuleType
from typing import Any

import numpy as np

from agents.policy import Policy
from sim.caches.cache import Cache
from sim.verifier.confinement import Limits, NotConfined, confine

DONE, RAISED, NOT_CONFINED = range(3)
"""The first byte of a reply."""

LENGTH = struct.Struct("<I")
LONGEST_MESSAGE = 2000

IMPORTS = (
    "abc", "array", "bisect", "collections", "copy", "dataclasses", "decimal", "enum", "fractions", "functools",
    "heapq", "itertools", "json", "math", "numbers", "operator", "random", "re", "statistics", "string", "struct",
    "time", "types", "typing",
    "numpy", "numpy.fft", "numpy.linalg", "numpy.random",
    "agents.policy", "sim.caches.cache", "sim.caches.ranked",
)  # fmt: skip
"""What a candidate may import."""


class Host:
    """A candidate in this process: its class, then one object of it."""

    def __init__(self) -> None:
        self.kind: Any = None
        self.made: Any = None

    def load(self, source: str, file: str, name: str) -> bytes:
        """Run the source. Replies with what the class is called, whether it is a cache, and whether it looks at
        times."""
        module = sys.modules["candidate"] = ModuleType("candidate")
        exec(compile(source, file, "exec"), vars(module))
        own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == "candidate"]
        able = [one for one in own if issubclass(one, Cache) or callable(getattr(one, "decide", None))]
        leaves = [one for one in able if not any(one in other.__mro__[1:] for other in able)]
        found = [one for one in able if one.__name__ == name] if name else leaves
        if len(found) != 1:
            there = ", ".join(one.__name__ for one in able) or "none"
            raise LookupError(
                f"there must be one class that decides (agents.policy) or ranks (sim.caches.ranked); there is {there}; "
                "name it as FILE.py:CLASS"
            )
        self.kind = found[0]
        cache = issubclass(self.kind, Cache)
        if cache and getattr(self.kind, "managed", None) is not False:
            raise TypeError("a cache that asks a policy (managed) can't be a candidate: write a policy, or a Ranked")
        return json.dumps([self.kind.__name__, cache, bool(getattr(self.kind, "timed", True))]).encode()

    def reset(self, run: Any, seed: int) -> bytes:
        """Make a policy and start a run."""
        self.made = self.kind()
        if not isinstance(self.made, Policy):
            raise TypeError("is no policy: it must have name, reset and decide (agents.policy)")
        self.made.reset(run, seed)
        return b""

    def decide(self, observation: Any) -> bytes:
        """Replies with the decision."""
        decision = self.made.decide(observation)
        return json.dumps([decision.replace, float(decision.share), decision.ranking]).encode()

    def make(self, setup: Any) -> bytes:
        """Make a cache. Replies with what it holds: an id a slot."""
        self.made = self.kind(setup=setup)
        return np.asarray(self.made.contents(), np.int32).tobytes()

    def access(self, ids: Any) -> bytes:
        """Serve a minibatch. Replies with the inserted ids, then with their slots."""
        access = self.made.access(ids)
        return np.concatenate([access.inserted_ids, access.inserted_slots]).astype(np.int32).tobytes()


def said(error: BaseException, file: str) -> str:
    """An exception in one line, with the line of the candidate that it came from."""
    frames = walk_tb(error.__traceback__)
    lines = [line for frame, line in frames if frame.f_code.co_filename == file]
    if isinstance(error, SyntaxError):
        lines.append(error.lineno or 0)
    where = f" (line {lines[-1]})" if lines else ""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}{where}"[:LONGEST_MESSAGE].replace("\n", " ")


def serve(read: Callable[[int], bytes], reply: Callable[[int, bytes], None], file: str) -> None:
    """Answer requests until there are no more."""
    host = Host()
    while header := read(LENGTH.size):
        request, *arguments = pickle.loads(read(LENGTH.unpack(header)[0]))
        try:
            answer = getattr(host, request)(*arguments)
        except BaseException as error:  # SystemExit and KeyboardInterrupt are as good as any other here
            reply(RAISED, said(error, file).encode(errors="replace"))
        else:
            reply(DONE, answer)


def run(file: str, limits: Limits) -> None:
    """Confine this process, then serve. Requests come on stdin, replies go to stdout; what the candidate prints goes to
    where stderr goes."""
    replies = os.dup(1)
    os.dup2(2, 1)

    def read(size: int) -> bytes:
        parts = []
        while size and (part := os.read(0, size)):
            parts.append(part)
            size -= len(part)
        return b"" if size else b"".join(parts)

    def reply(status: int, answer: bytes) -> None:
        left = memoryview(LENGTH.pack(len(answer) + 1) + bytes([status]) + answer)
        while left:
            left = left[os.write(replies, left) :]

    try:
        confine(limits)
    except NotConfined as error:
        reply(NOT_CONFINED, str(error).encode())
        return
    reply(DONE, b"")
    serve(read, reply, file)
