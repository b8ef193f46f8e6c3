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


def run_local(batches: Sequence[Batch], open_twins: Callable[[], Twins], workers: int) -> Iterator[list[Row]]:
    """Run all batches on `workers` processes; yields rows as they are finished, in no certain order.

    `open_twins` reads the traces. When a worker dies, the run that it was at becomes a row with an error, and another
    worker goes on.
    """
    idle = [Worker.start() for _ in range(min(workers, len(batches)))]
    busy: list[Worker] = []
    waiting = list(reversed(batches))
    try:
        with SharedTwins(open_twins()) as shared:
            for worker in idle:
                worker.send(shared)
            while waiting or busy:
                while waiting and idle:
                    worker, batch = idle.pop(), waiting.pop()
                    worker.pending = list(batch)
                    worker.send(batch)
                    busy.append(worker)
                rows: list[Row] = []
                ready = wait([worker.connection for worker in busy])
                for worker in [one for one in busy if one.connection in ready]:
                    try:
                        rows.append(worker.connection.recv())
                        worker.pending.pop(0)
                    except (EOFError, ConnectionError):
                        worker.process.join()
                        lost = worker.pending.pop(0)
                        rows.append(failure(lost, f"its worker process ended with code {worker.process.exitcode}"))
                        busy.remove(worker)
                        if worker.pending:
                            waiting.append(worker.pending)
                        if waiting:
                            idle.append(Worker.start())
                            idle[-1].send(shared)
                        continue
                    if not worker.pending:
                        busy.remove(worker)
                        idle.append(worker)
                yield rows
    finally:
        for worker in idle + busy:
            worker.process.kill()


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
