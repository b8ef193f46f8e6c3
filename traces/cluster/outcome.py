"""The outcome of a job, from the files in its folder."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traces.cluster.environment import Job, Process
from traces.cluster.errors import ClusterError

LOG_LINES = 20


def outcome_of(job: Job) -> dict[str, Any]:
    """The outcome that the zygote wrote. Raises `ClusterError` if it is a failure, or missing."""
    path = Path(job.run_dir, "outcome.json")
    if not path.exists():
        log = Path(job.run_dir, "zygote.log")
        raise ClusterError(f"the cluster itself failed; last lines of {log}:", log_lines=last_lines(log))
    outcome: dict[str, Any] = json.loads(path.read_text())
    if outcome["failure"] is None:
        return outcome
    name, returncode = outcome["failure"]["process"], outcome["failure"]["returncode"]
    process = next(process for process in job.processes() if process.name == name)
    raise death(job, process, returncode, last_lines(job.log_path(process)))


def death(job: Job, process: Process, returncode: int, log_lines: Sequence[str]) -> ClusterError:
    """The error for a `process` that ended too early."""
    if returncode < 0:
        how = f"was killed by {signal.Signals(-returncode).name}"
    else:
        how = f"ended with code {returncode}" if returncode else "ended before its work was done"
    return ClusterError(
        f"{_in_words(job, process)} {how}; last lines of {job.log_path(process)}:",
        process=process.name,
        machine=process.machine,
        returncode=returncode,
        log_lines=log_lines,
    )


def overdue(job: Job, timeout_s: float) -> ClusterError:
    """The error for a time-out, which names the trainers that weren't done."""
    unfinished = [p for p in job.processes() if p.role == "trainer" and not job.value_path(p).exists()]
    if not unfinished:
        return ClusterError(f"not ended after {timeout_s:g} s, though all trainers are done")
    first = unfinished[0]
    log = job.log_path(first)
    who = ", ".join(_in_words(job, process) for process in unfinished)
    return ClusterError(
        f"not done after {timeout_s:g} s: {who}; last lines of {log}:",
        process=first.name,
        machine=first.machine,
        log_lines=last_lines(log),
    )


def _in_words(job: Job, process: Process) -> str:
    name = job.hosts[process.machine].name
    return f"{process.role} {process.number} (machine {process.machine}{name and f', {name}'})"


def last_lines(log: Path) -> list[str]:
    """The end of a log; empty where there is none."""
    if not log.exists():
        return []
    with open(log, encoding="utf-8", errors="replace") as lines:
        return [line.rstrip() for line in deque(lines, maxlen=LOG_LINES)]
