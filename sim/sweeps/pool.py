"""Worker processes on this machine, which share the traces; if one dies, the others go on.

They are spawned and not forked: threads of polars and other libraries don't survive a fork, and a forked process that
waits for one hangs. Traces are shared without copies (`sim.sweeps.shared_twins`), kernels come from disk, and workers
import libraries while the traces are read.
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
        """Start a process that waits for the traces, and then for batches."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there,), daemon=True)
        with ctrl_c_ignored():  # the terminal sends it to all processes; the first one ends the others
            process.start()
        there.close()
        return cls(process, here)

    def send(self, message: SharedTwins | Batch) -> None:
        """Send the traces, or a batch. Does nothing if the worker is dead, which reading from it reports."""
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
    """Give batches to the workers, the last one first, and yield rows as they come. A worker that dies is replaced."""
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
        except (EOFError, ConnectionError, FileNotFoundError):  # the first process can't remove the file itself
            shared.remove()
