"""The program on each host of a remote job: it serves the launcher's requests, and forks and ends servers and trainers.

`remote.py` starts it by ssh or srun. Requests are JSON lines on standard input; responses and events are JSON lines on
standard output. If the input ends, or is silent for `SILENCE_S`, the launcher is gone. However this program ends, it
leaves no process and nothing in /dev/shm.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType
from typing import Any, TextIO

from traces.cluster import shared_memory
from traces.cluster.children import fork, import_once, listens, reap
from traces.cluster.environment import Job, Process
from traces.cluster.outcome import last_lines
from traces.cluster.preflight import facts_here, versions_here

TICK_S = 0.1
SILENCE_S = 60.0
CONNECT_S = 5.0
PR_SET_PDEATHSIG = 1


class Host:
    """One machine of a job. Its public methods are the requests that it serves."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._token = shared_memory.new_token()
        self._listeners: list[socket.socket] = []
        self._job: Job
        self._machine: int
        self._children: dict[int, Process] = {}
        self._started: list[int] = []
        self._awaited: dict[int, Process] = {}
        self._unfinished: list[Process] = []

    def versions(self) -> dict[str, str]:
        """See `preflight.versions_here`."""
        return versions_here()

    def facts(self, folder: str, files: list[str], run_dir: str) -> dict[str, Any]:
        """See `preflight.facts_here`."""
        return facts_here(folder, files, run_dir)

    def listen(self, address: str, ports: list[int]) -> dict[str, Any]:
        """Listen at the servers' ports and at the one where the trainers meet. Returns the ports that can't be used."""
        problems, free_port = [], 0
        for port in (*ports, 0):
            listener = socket.socket()
            self._listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that ended don't matter
            try:
                listener.bind((address, port))
                listener.listen()
                free_port = listener.getsockname()[1]
            except OSError as error:
                problems.append(f"port {port} of {address}: {error.strerror}{_user_of(port)}")
        return {"problems": problems, "free_port": free_port}

    def reach(self, others: list[tuple[str, int]]) -> list[str]:
        """Connect to the ports that other hosts listen at. Returns those that can't be reached."""
        with ThreadPoolExecutor(64) as pool:  # a firewall may let each attempt time out
            return [problem for problem in pool.map(_unreachable, others) if problem]

    def servers(self, job: dict[str, Any], machine: int, environment: dict[str, str]) -> None:
        """Start this machine's servers. The answer comes later, as event `listening`."""
        for listener in self._listeners:
            listener.close()
        self._job, self._machine = Job.from_json(job), machine
        os.environ.update(environment | {"DGLBACKEND": "pytorch", "OMP_NUM_THREADS": str(self._job.omp_threads)})
        import_once()
        shared_memory.hold(self._token)
        self._fork("server")
        self._awaited = dict(self._children)

    def trainers(self) -> None:
        """Start this machine's trainers. Their values, and the end of any process, come as events."""
        self._unfinished = self._fork("trainer")

    def serve(self) -> None:
        """Serve requests and report events until the launcher is gone."""
        lines, wake = _Lines(sys.stdin.fileno()), os.pipe()
        os.set_blocking(wake[1], False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake[1], warn_on_full_buffer=False)
        # in ticks, as a clock goes on while this process is stopped
        silent_ticks = 0
        while silent_ticks * TICK_S < SILENCE_S:
            ready, _, _ = select.select([lines.descriptor, wake[0]], [], [], TICK_S)
            if wake[0] in ready:
                os.read(wake[0], 4096)
            self._send_events()
            silent_ticks += 1
            if lines.descriptor not in ready:
                continue
            silent_ticks = 0
            if (asked := lines.read()) is None:
                return
            for question in filter(None, asked):  # an empty line is a keep-alive message
                answer = getattr(self, question["ask"])(**question["with"])
                self._send({"answer": answer})

    def end(self) -> None:
        """Kill all processes started here, and their descendants."""
        for child in self._started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        for child in self._children:
            os.waitpid(child, 0)
        shared_memory.remove(self._token)

    def _fork(self, role: str) -> list[Process]:
        mine = [p for p in self._job.processes() if p.role == role and p.machine == self._machine]
        enter = partial(_enter, token=self._token, parent=os.getpid())
        for process in mine:
            child = fork(self._job, process, enter)
            os.setpgid(child, child)
            self._started.append(child)
            self._children[child] = process
        return mine

    def _send_events(self) -> None:
        if self._awaited and all(listens(child, self._job.port(p)) for child, p in self._awaited.items()):
            self._awaited = {}
            self._send({"event": "listening"})
        ended = reap(self._children)
        for process in self._unfinished[:]:
            if (path := self._job.value_path(process)).exists():
                self._unfinished.remove(process)
                self._send({"event": "value", "process": process.name, "value": json.loads(path.read_text())})
        for process, code in ended:
            lines = last_lines(self._job.log_path(process))
            self._send({"event": "ended", "process": process.name, "returncode": code, "log_lines": lines})

    def _send(self, message: dict[str, Any]) -> None:
        self._answers.write(json.dumps(message) + "\n")
        self._answers.flush()


class _Lines:
    """Whole lines of JSON from a descriptor that `select` waits for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._partial = b""

    def read(self) -> list[Any] | None:
        """The lines that have arrived; None at the end of the input."""
        if not (chunk := os.read(self.descriptor, 1 << 16)):
            return None
        *lines, self._partial = (self._partial + chunk).split(b"\n")
        return [json.loads(line) for line in lines]


def _enter(machine: int, token: str, parent: int) -> None:
    """In a new child: die with the parent, and use the job's own names in shared memory."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    shared_memory.prefix_names(f"{token}-m{machine}-")


def _unreachable(other: tuple[str, int]) -> str | None:
    address, port = other
    try:
        socket.create_connection((address, port), CONNECT_S).close()
    except OSError as error:
        return f"can't reach {address}, port {port} ({error.strerror or error}); is there a firewall?"
    return None


def _user_of(port: int) -> str:
    """The process that listens at a port, if this user may see it."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f", by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Be a host until the launcher has gone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # so that output of libraries doesn't mix with responses
    signal.signal(signal.SIGTERM, _terminated)
    host = Host(answers)
    try:
        host.serve()
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        host.end()
