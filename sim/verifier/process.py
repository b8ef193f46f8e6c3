"""Candidates in processes of their own: started, asked, and ended, whatever they do.

A candidate runs twice, side by side, under two seeds of Python's hashes. Both are asked the same; where their answers
differ, it depends on more than what it was told, and has no score.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import sim
from sim.verifier.child import DONE, LENGTH, LONGEST_MESSAGE, NOT_CONFINED, RAISED
from sim.verifier.confinement import Limits
from traces.errors import InputError

Reason = Literal["time", "memory", "raised", "ended", "contract", "differs"]
"""Why a candidate is refused: it took too long, or too much memory, or raised an exception, or ended its process, or
answered what is no answer, or answers one thing now and another then."""

LONGEST_REPLY = 64 << 20
SHOWN = 2000
"""So much of what a candidate printed is kept."""

ROOT = str(Path(sim.__file__).parents[1])


class Refused(Exception):
    """A candidate that has no score, and why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Template:
    """A process to fork candidates' processes from; `close` ends it and them."""

    def __init__(self, hash_seed: int) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-u", "-m", "sim.verifier.template"],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env={"PYTHONPATH": ROOT, "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1"}
            | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            cwd="/",
            start_new_session=True,
        )
        theirs.close()

    def ask(self, request: dict[str, Any], fds: Sequence[int] = ()) -> int:
        """The number that it answers a request with. Raises `InputError` where it couldn't be started."""
        with self.lock:
            try:
                socket.send_fds(self.control, [json.dumps(request).encode()], fds)
                answer = self.control.recv(64)
            except ConnectionError:
                answer = b""
        if not answer:
            raise InputError(
                f"candidates can't be run here: python -m sim.verifier.template ended ({self.process.wait()})"
            )
        return int(answer)

    def close(self) -> None:
        """End it, and with it all that it forked."""
        self.control.close()
        self.process.wait()


class Templates:
    """Two templates, under two seeds of Python's hashes, for whoever runs many candidates. They end with it."""

    def __init__(self) -> None:
        self.both = [Template(seed) for seed in (1, 2)]
        for one in self.both:
            weakref.finalize(self, one.close)


class Process:
    """One process that a candidate is to run in."""

    def __init__(self, template: Template, file: str, limits: Limits) -> None:
        self.template, self.limits, self.waited_s = template, limits, 0.0
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115
        theirs, self.to = os.pipe()
        self.of, replies = os.pipe()
        request = {"file": file, "limits": asdict(limits)}
        try:
            self.pid: int | None = template.ask(request, (theirs, replies, self.printed.fileno()))
        finally:
            os.close(theirs)
            os.close(replies)
        self.code = 0
        os.set_blocking(self.to, False)
        os.set_blocking(self.of, False)

    def send(self, request: bytes) -> None:
        """Send a request; a candidate that doesn't take it is out of time, or gone."""
        left = memoryview(LENGTH.pack(len(request)) + request)
        while left:
            self._wait(self.to, select.POLLOUT)
            try:
                left = left[os.write(self.to, left) :]
            except BrokenPipeError:
                raise self._gone() from None

    def receive(self) -> bytes:
        """The reply to a request. Raises `Refused` for an exception, and for what is no reply."""
        status, answer = self._reply()
        if status == RAISED:
            message = answer[:LONGEST_MESSAGE].decode(errors="replace")
            raise Refused("memory" if message.startswith("MemoryError") else "raised", message)
        if status != DONE:
            raise Refused("contract", f"a reply that begins with {status} is none")
        return answer

    def started(self) -> None:
        """Wait until it is confined, and has seen nothing yet. Raises `InputError` where that can't be done."""
        status, answer = self._reply()
        if status == NOT_CONFINED:
            raise InputError(f"candidates can't be run here: {answer.decode()}")

    def _reply(self) -> tuple[int, bytes]:
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if not 1 <= length <= LONGEST_REPLY:
            raise Refused("contract", f"a reply of {length} bytes is none")
        return self._read(1)[0], self._read(length - 1)

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            self._wait(self.of, select.POLLIN)
            if not (part := os.read(self.of, min(size, 1 << 20))):
                raise self._gone()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, pipe: int, event: int) -> None:
        poll, start_s = select.poll(), time.monotonic()
        poll.register(pipe, event)
        ready = poll.poll(max(0.0, self.limits.wait_s - self.waited_s) * 1e3)
        self.waited_s += time.monotonic() - start_s
        if not ready:
            raise Refused("time", f"its answers took longer than {self.limits.wait_s:g} s")

    def _gone(self) -> Refused:
        code = self._end()
        if code == -signal.SIGXCPU:
            return Refused("time", f"it took more than {self.limits.cpu_s} s of processor time")
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return Refused("ended", f"its process ended, {how}")

    def _end(self) -> int:
        """Kill it. Returns its exit code."""
        if self.pid is not None:
            self.code, self.pid = self.template.ask({"end": self.pid}), None
        return self.code

    def close(self) -> None:
        """Kill it, and wait until it is gone."""
        self._end()
        os.close(self.to)
        os.close(self.of)

    def shown(self) -> str:
        """The beginning of what it printed."""
        self.printed.seek(0)
        return self.printed.read(SHOWN).decode(errors="replace")


class Pair:
    """A candidate, twice, for one trainer's run; `close` ends both."""

    def __init__(self, templates: Templates, source: str, file: str, name: str, limits: Limits) -> None:
        self.processes = [Process(one, file, limits) for one in templates.both]
        try:
            for one in self.processes:
                one.started()
            kind, self.is_cache, self.timed = self.told("load", source, file, name, types=(str, bool, bool))
            self.name = str(kind)
            if not self.name.isidentifier():
                raise Refused("contract", "its class has no name")
        except BaseException:
            self.close()
            raise

    def ask(self, *request: object) -> bytes:
        """What both reply. Raises `Refused` where they don't, or not the same."""
        message = pickle.dumps(request, protocol=5)
        for one in self.processes:
            one.send(message)
        first, second = (one.receive() for one in self.processes)
        if first != second:
            raise Refused(
                "differs", f"asked the same twice ({request[0]}), it answers differently: it depends on more than that"
            )
        return first

    def told(self, *request: object, types: tuple[type, ...]) -> list[Any]:
        """The same for a reply of a few values. Raises `Refused` where they are others than these."""
        reply = self.ask(*request)
        try:
            values = json.loads(reply) if len(reply) <= LONGEST_MESSAGE else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list) or [type(one) for one in values] != list(types):
            shown = reply[:200].decode(errors="replace")
            raise Refused("contract", f"it answers {request[0]} with {shown}, which is no answer")
        return values

    def ids(self, *request: object) -> NDArray[np.int32]:
        """The same for a reply of numbers, shape (n,)."""
        reply = self.ask(*request)
        if len(reply) % 4:
            raise Refused("contract", f"it answers {request[0]} with {len(reply)} bytes, which are no numbers")
        return np.frombuffer(reply, np.int32)

    def close(self) -> None:
        """End both."""
        for one in self.processes:
            one.close()

    def shown(self) -> str:
        """The beginning of what it printed."""
        return self.processes[0].shown()
