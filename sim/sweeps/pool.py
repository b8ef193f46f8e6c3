"""Worker processes on this machine, which share the traces and outlive each other.

They are forked after the traces were read: Linux then maps the very same memory into each, and nothing is copied,
because nobody writes to it. So a worker starts at once, needs no copy of a trace, and finds all kernels compiled.
Workers compute with numpy alone: threads of other libraries, such as those of polars, do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from sim.config import RunConfig
from sim.sweeps.batches import Batch, Twins, run_batch

Row = dict[str, Any]


@dataclass(eq=False)
class Worker:
    """A process, the connection to it, and the runs that it was given and has not finished."""

    process: BaseProcess
    connection: Connection
    pending: list[RunConfig]


def run_local(batches: Sequence[Batch], twins: Twins, workers: int) -> Iterator[list[Row]]:
    """Run all batches on `workers` processes; yields rows as they are finished, in no certain order.

    When a worker dies, the run that it was at becomes a row with an error, and another worker goes on.
    """
    context = multiprocessing.get_context("fork")
    waiting = list(reversed(batches))
    running: list[Worker] = []

    def start(batch: Batch) -> None:
        here, there = context.Pipe()
        others = [worker.connection for worker in running]
        process = context.Process(target=_work, args=(there, [here, *others], twins), daemon=True)
        process.start()
        there.close()
        here.send(batch)
        running.append(Worker(process, here, list(batch)))

    try:
        while waiting or running:
            while waiting and len(running) < workers:
                start(waiting.pop())
            rows: list[Row] = []
            ready = wait([worker.connection for worker in running])
            for worker in [one for one in running if one.connection in ready]:
                try:
                    row = worker.connection.recv()
                except (EOFError, ConnectionResetError):
                    running.remove(worker)
                    worker.process.join()
                    lost = worker.pending.pop(0)
                    rows.append(failure(lost, f"its worker process ended with code {worker.process.exitcode}"))
                    if worker.pending:
                        waiting.append(worker.pending)
                    continue
                rows.append(row)
                worker.pending.pop(0)
                if worker.pending:
                    continue
                if waiting:
                    worker.pending = list(waiting[-1])
                    worker.connection.send(waiting.pop())
                else:
                    running.remove(worker)
                    worker.connection.close()
            yield rows
    finally:
        for worker in running:
            worker.process.kill()


def failure(config: RunConfig, error: str) -> Row:
    """The row of a run that has no result."""
    return {"run": config.id} | config.model_dump() | {"error": error}


def _work(connection: Connection, inherited: list[Connection], twins: Twins) -> None:
    """What a worker does until nobody gives it work any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process says what becomes of us
    for other in inherited:
        other.close()  # else a worker would keep the connections of others open when the first process is gone
    try:
        while True:
            for row in run_batch(connection.recv(), twins):
                connection.send(row)
    except (EOFError, BrokenPipeError):
        return
