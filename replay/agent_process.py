"""The process that asks language models, outside of the cluster, as trainers in namespaces can't reach a model server.

It listens on a Unix socket, which trainers in network namespaces can open, or for trainers on other hosts on a TCP
port. Each trainer has one connection, with its own policy object and thread. A model that crashes ends this process,
but no trainer: trainers then count a failed answer after every window.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError, get_context, parent_process
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from agents.policy import Decision, Observation, RunFacts
from agents.registry import ModelOptions, resolve
from traces.cluster.preflight import resolve as resolve_host
from traces.errors import InputError

GRACE_S = 1.0
"""How much longer than the model's time-out a trainer waits for an answer of this process."""


@dataclass(frozen=True)
class Address:
    """Where the process listens: `where` has the path of a socket, or pairs of an address and a port, the most likely
    first. Connections authenticate with `key` (hexadecimal)."""

    where: tuple[str | tuple[str, int], ...]
    key: str

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Address:
        """The address whose `asdict` was turned into JSON."""
        return cls(tuple(one if isinstance(one, str) else tuple(one) for one in fields["where"]), fields["key"])


@contextmanager
def agent_process(agent: str, model: ModelOptions, hosts: Sequence[str] | None) -> Iterator[Address]:
    """Run the process for policies `agent` during the block. `hosts` are those of the trainers; None for this host."""
    folder = Path(tempfile.mkdtemp(prefix="rudder-"))  # a socket's path may have no more than 107 characters
    key = os.urandom(16).hex()
    context = get_context("spawn")
    here, there = context.Pipe()
    path = str(folder / "agents") if hosts is None else None
    process = context.Process(target=_serve, args=(path, key, agent, model, there), daemon=True)
    try:
        process.start()
        there.close()
        port = here.recv()
        yield Address((path,) if path else tuple((own, port) for own in addresses_towards(hosts or ())), key)
    finally:
        process.kill()
        process.join()
        shutil.rmtree(folder)


def addresses_towards(hosts: Sequence[str]) -> list[str]:
    """Addresses at which `hosts` may reach this host: first the source addresses of routes to them, then all others, as
    some host names are known to ssh or Slurm only."""
    found = []
    for there in (address for host in hosts for address in resolve_host(host)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent, suppress(OSError):
            unsent.connect((there, 9))
            found.append(str(unsent.getsockname()[0]))
    own = [one.address for of in psutil.net_if_addrs().values() for one in of if one.family == socket.AF_INET]
    return [one for one in dict.fromkeys([*found, *own]) if not one.startswith("127.")] or ["127.0.0.1"]


def _serve(path: str | None, key: str, agent: str, model: ModelOptions, started: Pipe) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the launcher, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    listener = Listener(("0.0.0.0", 0) if path is None else path, authkey=bytes.fromhex(key))
    started.send(path or listener.address[1])
    while True:
        try:
            trainer = listener.accept()
        except (AuthenticationError, EOFError, OSError):
            continue
        threading.Thread(target=_decide_for, args=(trainer, agent, model), daemon=True).start()


def _end_with_parent() -> None:
    launcher = parent_process()
    assert launcher is not None  # `agent_process` started it
    launcher.join()
    os._exit(1)


def _decide_for(trainer: Connection, agent: str, model: ModelOptions) -> None:
    policy = resolve(agent, model).make()
    try:
        policy.reset(*trainer.recv())
        trainer.send(None)
        while True:
            number, observation = trainer.recv()
            trainer.send((number, policy.decide(observation)))
    except InputError as error:
        trainer.send(str(error))
    except (EOFError, OSError):
        pass  # the trainer has ended


class RemotePolicy:
    """A policy that decides in the process at `address`.

    `decide` raises errors of the connection, and gives a "late" decision if no answer comes within `timeout_s`.
    """

    def __init__(self, name: str, address: Address, timeout_s: float) -> None:
        self.name, self._address, self._timeout_s = name, address, timeout_s
        self._number = 0

    def reset(self, run: RunFacts, seed: int) -> None:
        """Raises `InputError` where the policy refuses the run, and `OSError` where its process can't be reached."""
        self._process: Any = self._connect()
        self._process.send((run, seed))
        if (refusal := self._process.recv()) is not None:
            raise InputError(refusal)

    def _connect(self) -> Connection:
        key = bytes.fromhex(self._address.key)
        *others, last = self._address.where
        for where in others:
            with suppress(OSError):
                return Client(where, authkey=key)
        return Client(last, authkey=key)

    def decide(self, observation: Observation) -> Decision:
        """Ask, and skip if no answer comes in time; a later answer is discarded."""
        self._number += 1
        self._process.send((self._number, observation))
        deadline = perf_counter() + self._timeout_s + GRACE_S
        while self._process.poll(max(0.0, deadline - perf_counter())):
            number, decision = self._process.recv()
            if number == self._number:
                return decision
        return Decision(replace=False, outcome="late", reason=f"no answer within {self._timeout_s:g} s")
