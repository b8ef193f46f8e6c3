"""Forking a job's servers and trainers from a process that has imported torch and dgl, and reaping them."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from traces.cluster import process as process_module
from traces.cluster.environment import Job, Process

TCP_LISTEN = "0A"
"""State of a listening socket in /proc/PID/net/tcp."""


def import_once() -> None:
    """Import what all processes need once, before forking, as it takes seconds."""
    import dgl  # noqa: F401
    import torch._dynamo  # DistributedDataParallel imports it
    import torch.distributed  # noqa: F401


def fork(job: Job, process: Process, enter: Callable[[int], None]) -> int:
    """Fork a child that runs `process`, and return its process id. The child calls `enter(machine)` to join its
    machine."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        log = os.open(job.log_path(process), os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        enter(process.machine)
        os.environ.update(job.environment(process))
        code = process_module.main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def listens(child: int, port: int) -> bool:
    """Whether a process in the network namespace of `child` listens at `port`; False if `child` has ended."""
    try:
        sockets = [line.split() for line in Path(f"/proc/{child}/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return False
    return any(int(fields[1].partition(":")[2], 16) == port and fields[3] == TCP_LISTEN for fields in sockets)


def reap(children: dict[int, Process]) -> list[tuple[Process, int]]:
    """Remove the children that have ended, and return them with their exit codes (negative: signal)."""
    ended = []
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            break
        if child in children:  # otherwise an orphan that process 1 has inherited
            ended.append((children.pop(child), os.waitstatus_to_exitcode(status)))
    return ended
