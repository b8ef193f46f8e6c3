"""The exception of a job that failed."""

from __future__ import annotations

from collections.abc import Sequence


class ClusterError(RuntimeError):
    """A job that started and did not come to its end: a process died, or time ran out.

    `process` names the culprit ("trainer-1-0": trainer 0 of machine 1; None if the cluster itself failed),
    `returncode` is its exit code, or minus the signal that killed it, or None if it was still running, and
    `log_lines` are the last lines that it wrote. The message has all of this in words.
    """

    def __init__(
        self,
        message: str,
        *,
        process: str | None = None,
        machine: int | None = None,
        returncode: int | None = None,
        log_lines: Sequence[str] = (),
    ) -> None:
        super().__init__("\n".join([message, *(f"  | {line}" for line in log_lines)]))
        self.process = process
        self.machine = machine
        self.returncode = returncode
        self.log_lines = tuple(log_lines)
