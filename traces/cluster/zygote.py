"""Process 1 of a local cluster: imports torch and dgl once, forks all servers and trainers, and watches them.

Started by `local.run_local` as `python -m traces.cluster.zygote RUN_DIR FORM LINK_BYTES_PER_S TOKEN`; its standard
input is a pipe that nothing is written to, and that closes when the launcher is gone.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from traces.cluster import loopback, namespaces, shared_memory
from traces.cluster.children import fork, import_once, listens, reap
from traces.cluster.environment import Job, Process

GRACE_S = 5.0
"""How long processes may take to end after all trainers are done; DGL's exit has been seen to hang."""
WATCH_S = 0.2


def main(run_dir: Path, form: str, link_bytes_per_s: float | None, token: str) -> None:
    """Run the job in `run_dir` to its end, and write `outcome.json`."""
    job = Job.read(run_dir)
    machines = None
    enter: Callable[[int], None] = partial(loopback.enter, token=token)
    if form != "loopback":
        machines = namespaces.Machines(len(job.hosts), link_bytes_per_s)
        enter = machines.enter
    import_once()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # for sigtimedwait
    servers = {fork(job, process, enter): process for process in job.processes() if process.role == "server"}
    _await_servers(job, servers)
    trainers = {fork(job, process, enter): process for process in job.processes() if process.role == "trainer"}
    failure = _watch(job, servers | trainers)
    outcome = {
        "failure": failure,
        "traffic": machines and [asdict(traffic) for traffic in machines.traffic()],
    }
    unfinished = run_dir / "outcome.part"
    unfinished.write_text(json.dumps(outcome))
    unfinished.replace(run_dir / "outcome.json")
    if machines is None:
        shared_memory.remove(token)
        os.killpg(0, signal.SIGKILL)  # the launcher made this process a group of its own
    os._exit(0)  # and the kernel kills all other processes of the namespace


def _await_servers(job: Job, servers: dict[int, Process]) -> None:
    """Wait until all servers listen, or one has ended. (A DGL client that connects too early sleeps for 3 s.)"""
    while not all(listens(child, job.port(server)) for child, server in servers.items()):
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None or _launcher_is_gone():
            break
        time.sleep(0.02)


def _launcher_is_gone() -> bool:
    return bool(select.select([0], [], [], 0)[0])


def _watch(job: Job, children: dict[int, Process]) -> dict[str, Any] | None:
    """Wait until the job has ended, well or not, and return the failure: process, machine and return code.

    The job has succeeded when all trainers left their values; how they and the servers end after that doesn't
    matter. It has failed when a trainer ends without, or a server ends before.
    """
    values = [job.value_path(process) for process in children.values() if process.role == "trainer"]
    deadline = float("inf")
    while children and time.perf_counter() < deadline:
        signal.sigtimedwait({signal.SIGCHLD}, WATCH_S)
        ended = reap(children)
        done = all(path.exists() for path in values)
        if done:
            deadline = min(deadline, time.perf_counter() + GRACE_S)
            continue
        failed = [(p, code) for p, code in ended if p.role == "server" or not job.value_path(p).exists()]
        if failed:
            # others may have died because of the culprit, whose log ended first
            process, code = min(failed, key=lambda item: job.log_path(item[0]).stat().st_mtime_ns)
            return {"process": process.name, "machine": process.machine, "returncode": code}
        if _launcher_is_gone():
            break
    return None


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]) or None, sys.argv[4])
