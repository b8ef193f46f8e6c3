"""Connections to the program on each host (`traces.cluster.host`): requests, responses, events, and lost
connections."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Any

from traces.cluster.outcome import last_lines
from traces.errors import InputError

ALIVE_S = 10.0
"""Interval of keep-alive messages to the hosts."""
STOP_S = 5.0
"""How long hosts may take to end their processes before their connections are closed."""
NO_CONNECTION = 255
"""Exit code of ssh when ssh itself has failed, and not the remote command."""
NO_COMMAND = 127
NO_REASON = re.compile(
    r"srun: (error: .*: task \d+: |Terminating |Job step aborted|cluster configuration)|slurmstepd: "
)
"""Lines of srun that don't give a reason."""


class Connections:
    """One connection a host; `commands` starts the program on each, by the host's name.

    A context manager: at its end the program's standard input is closed, which ends everything on the host. What
    the programs and ssh write to standard error goes to `host-MACHINE.log` in `run_dir`.
    """

    def __init__(self, commands: Mapping[str, Sequence[str]], run_dir: Path) -> None:
        self.names = tuple(commands)
        self._commands, self._run_dir = commands, run_dir
        self._received: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
        self._events: deque[tuple[int, dict[str, Any]]] = deque()
        self._programs: list[subprocess.Popen[bytes]] = []
        self._heard_of: set[int] = set()

    def __enter__(self) -> Connections:
        try:
            for machine, command in enumerate(self._commands.values()):
                with open(self.log_path(machine), "wb") as log:
                    # A session of its own: a terminal's Ctrl-C reaches only the launcher, which then ends the job.
                    program = subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                    )
                self._programs.append(program)
                threading.Thread(target=self._read, args=(machine, program), daemon=True).start()
        except FileNotFoundError as error:
            self._close()
            raise InputError(f"{error.filename}: is not on the path, so no host can be reached") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def log_path(self, machine: int) -> Path:
        """Where the standard error of a host's program goes."""
        return self._run_dir / f"host-{machine}.log"

    def ask(self, question: str, arguments: Sequence[dict[str, Any]], within_s: float) -> list[Any]:
        """Ask every host, host i with `arguments[i]`, and return the answers in order; events are kept for later.

        Raises `InputError` with a line for each host whose connection ended, or that didn't answer in time.
        """
        for machine, given in enumerate(arguments):
            self._send(machine, {"ask": question, "with": given})
        deadline = perf_counter() + within_s
        answers: dict[int, Any] = {}
        lost: dict[int, str] = {}
        while len(answers) + len(lost) < len(self.names):
            if (left_s := deadline - perf_counter()) <= 0:
                break
            try:
                machine, message = self._received.get(timeout=min(left_s, ALIVE_S))
            except queue.Empty:
                self.keep_alive()  # to hosts that have answered and wait for the others
                continue
            if message is None:
                lost[machine] = self.why_lost(machine)
            elif "answer" in message:
                answers[machine] = message["answer"]
            else:
                self._events.append((machine, message))
        silent = {m: f"no answer within {within_s:g} s" for m in range(len(self.names)) if m not in answers}
        if failed := silent | lost:
            raise InputError("\n".join(f"host {self.names[m]}: {failed[m]}" for m in sorted(failed)))
        return [answers[machine] for machine in range(len(self.names))]

    def next_event(self, within_s: float) -> tuple[int, dict[str, Any]] | None:
        """The machine and the event that came next, or event `lost` where its connection ended; None: none in time."""
        if self._events:
            return self._events.popleft()
        deadline = perf_counter() + within_s
        while True:
            try:
                machine, message = self._received.get(timeout=max(0.0, deadline - perf_counter()))
            except queue.Empty:
                return None
            if message is None:
                return machine, {"event": "lost"}
            if "event" in message:
                return machine, message

    def keep_alive(self) -> None:
        """Send a keep-alive message to all hosts."""
        for machine in range(len(self.names)):
            self._send(machine, {})

    def why_lost(self, machine: int) -> str:
        """Why the connection to a machine ended, in one line: the last message of ssh, srun or the program there."""
        returncode = self._programs[machine].wait()
        lines = [line for line in last_lines(self.log_path(machine)) if line and not NO_REASON.match(line)]
        said = lines[-1] if lines else f"code {returncode}"
        if machine in self._heard_of:
            return f"its connection was lost ({said})"
        if returncode == NO_CONNECTION:
            return f"can't be reached ({said})"
        if returncode == NO_COMMAND or said.endswith("No such file or directory"):
            return f"{said}; name the Python there with --python"
        if said.startswith("ModuleNotFoundError"):
            return f"{said}; install rudder-twin there, or name the Python that has it with --python"
        return said

    def _send(self, machine: int, message: dict[str, Any]) -> None:
        stdin = self._programs[machine].stdin
        assert stdin is not None  # it was opened as a pipe
        with contextlib.suppress(OSError):  # `_read` reports the loss
            stdin.write(json.dumps(message).encode() + b"\n")
            stdin.flush()

    def _read(self, machine: int, program: subprocess.Popen[bytes]) -> None:
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith(b"{"):  # else a greeting of the host's shell
                self._heard_of.add(machine)
                self._received.put((machine, json.loads(line)))
        self._received.put((machine, None))

    def _close(self) -> None:
        for program in self._programs:
            assert program.stdin is not None
            with contextlib.suppress(OSError):
                program.stdin.close()
        deadline = perf_counter() + STOP_S
        for program in self._programs:
            while program.poll() is None and perf_counter() < deadline:
                sleep(0.02)
            program.kill()
            program.wait()
