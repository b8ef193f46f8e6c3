"""Worker processes on this machine, which share the traces and outlive each other.

They are started afresh (`spawn`) and not forked: threads of polars or any other library do not survive a fork, and what
waits for one in a forked process waits for ever. Traces are not copied for that (`sim.sweeps.shared_twins`), kernels
are on disk, and workers import what they need while the traces are read.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sim.config import RunConfig
from sim.sweeps.batches import Batch, Twins, run_batch
from sim.sweeps.shared_twins import SharedTwins
from traces.errors import ctrl_c_ignored

Row = dict[str, Any]


@dataclass(eq=False)
class Worker:
    """A process, the connection to it, and the runs that it was given and has not finished."""

    process: BaseProcess
    connection: Connection
    pending: list[RunConfig] = field(default_factory=list)

    @classmethod
    def start(cls) -> Worker:
        """Start one, which waits for the traces and then for batches."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there,), daemon=True)
        with ctrl_c_ignored():  # it reaches all; the first process says what becomes of the others
            process.start()
        there.close()
        return cls(process, here)

    def send(self, message: SharedTwins | Batch) -> None:
        """Send the traces, or a batch. That a worker is dead shows when it is listened to."""
        with suppress(ConnectionError):
            self.connection.send(message)

    def give(self, batch: Batch) -> None:
        """Send a batch to one that has nothing to do."""
        self.pending = list(batch)
        self.send(batch)

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.join()


def run_local(batches: Sequence[Batch], open_twins: Callable[[], Twins], workers: int) -> Iterator[list[Row]]:
    """Run all batches on `workers` processes; yields rows as they are finished, in no certain order.

    `open_twins` reads the traces. When a worker dies, the run that it was at becomes a row with an error, and another
    worker goes on.
    """
    crew = [Worker.start() for _ in range(min(workers, len(batches)))]
    shared: SharedTwins | None = None
    try:
        shared = SharedTwins(open_twins())
        for worker in crew:
            worker.send(shared)
        yield from _deal(list(reversed(batches)), crew, shared)
    finally:
        for worker in crew:
            worker.end()
        if shared is not None:
            shared.remove()


def _deal(waiting: list[Batch], crew: list[Worker], shared: SharedTwins) -> Iterator[list[Row]]:
    """Give batches to the crew, the last one first, and yield rows as they come. Who dies is replaced in the crew."""
    while True:
        for worker in crew:
            if waiting and not worker.pending:
                worker.give(waiting.pop())
        busy = [worker for worker in crew if worker.pending]
        if not busy:
            return
        rows: list[Row] = []
        ready = wait([worker.connection for worker in busy])
        for worker in [one for one in busy if one.connection in ready]:
            run = worker.pending.pop(0)
            try:
                rows.append(worker.connection.recv())
            except (EOFError, ConnectionError):
                worker.process.join()
                rows.append(failure(run, f"its worker process ended with code {worker.process.exitcode}"))
                if worker.pending:
                    waiting.append(worker.pending)
                crew.remove(worker)
                if waiting:
                    crew.append(Worker.start())
                    crew[-1].send(shared)
        yield rows


def failure(config: RunConfig, error: str) -> Row:
    """The row of a run that has no result."""
    return {"run": config.id} | config.model_dump() | {"error": error}


def _work(connection: Connection) -> None:
    """What a worker does until it is killed, or the first process is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        shared = connection.recv()
        try:
            twins = shared.open()
            while True:
                for row in run_batch(connection.recv(), twins):
                    connection.send(row)
        except (EOFError, ConnectionError, FileNotFoundError):  # it was killed, and can't remove what it left
            shared.remove()
