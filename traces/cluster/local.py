"""A DistDGL cluster on one machine: real servers and trainers, each machine a set of namespaces or just ports."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from traces.cluster import loopback, namespaces, shared_memory
from traces.cluster.environment import MASTER_PORT, PORT, Host, Job
from traces.cluster.launcher import JobRun
from traces.cluster.link import parse_link
from traces.cluster.namespaces import Traffic
from traces.cluster.outcome import outcome_of, overdue
from traces.cluster.partition import check_parts
from traces.cluster.process import split_entry
from traces.errors import InputError

Form = Literal["namespaces", "userns", "loopback"]

STOP_S = 2.0
"""How long the processes may take to end by themselves before they are killed."""


@dataclass(frozen=True, kw_only=True)
class LocalCluster:
    """`parts` machines on one host, each with one partition, its servers and its trainers."""

    parts: int
    trainers_per_machine: int = 1
    servers_per_machine: int = 1
    link: str | None = None
    """Rate of each machine's link in either direction, as `parse_link` reads it; None: unshaped."""
    form: Form | Literal["auto"] = "auto"
    """How machines are separated. `namespaces` needs root; `userns` is the same without; `loopback`, where neither is
    granted, can't shape links. `auto` takes the first that works here."""
    timeout_s: float = 600.0
    """From the start of the launcher to the end of the last process."""
    omp_threads: int = 1
    samplers_per_trainer: int = 0

    def __post_init__(self) -> None:
        for name in ("parts", "trainers_per_machine", "servers_per_machine", "omp_threads", "timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: must be more than 0")
        if self.samplers_per_trainer < 0:
            raise InputError(f"samplers_per_trainer is {self.samplers_per_trainer}: must be 0 or more")
        if self.form not in (*get_args(Form), "auto"):
            raise InputError(f"form {self.form!r}: choose one of {', '.join(get_args(Form))}, auto")
        if self.link is not None:
            parse_link(self.link)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines' names, for people."""
        return tuple(f"machine{number}" for number in range(self.parts))

    @property
    def form_here(self) -> Form:
        """What the machines will be made of."""
        return _choose_form(self)[0]

    @property
    def shared_clock(self) -> bool:
        """`perf_counter` is the clock of the one host."""
        return True

    def check(self) -> None:
        """Raise `InputError` where the kernel doesn't permit machines of this form."""
        _choose_form(self)

    def run(self, part_config: Path, entry: str, arguments: dict[str, Any], run_dir: Path, seed: int = 0) -> JobRun:
        """See `run_local`."""
        return run_local(self, part_config, entry, arguments, run_dir, seed)


def run_local(
    cluster: LocalCluster, part_config: Path, entry: str, arguments: dict[str, Any], run_dir: Path, seed: int = 0
) -> JobRun:
    """Run `entry` in every trainer of a cluster that serves the partitions of `part_config`, and wait for the end.

    `entry` is `module:function` or `path/to/file.py:function`; the function is called with `arguments` (JSON
    values), calls `process.connect()`, and returns a JSON value. Servers load its module too. Each process logs to
    `run_dir`/ROLE-MACHINE-INDEX.log. `seed` seeds every process, each differently.

    Raises `InputError` before anything is started if something can't be used or granted here, and `ClusterError`
    with the culprit's last log lines when a process dies or `cluster.timeout_s` is over. However it ends, even by
    a signal to this process, nothing is left running, mounted or in /dev/shm. Says on stderr when it falls
    back to the loopback form.
    """
    start_s = time.perf_counter()
    part_config, run_dir = part_config.resolve(), run_dir.resolve()
    check_parts(part_config, cluster.parts)
    split_entry(entry)
    form, note = _choose_form(cluster)
    if note:
        print(note, file=sys.stderr)
    if form == "loopback":
        shared_memory.check_room(part_config.parent.glob("part*/*.dgl"))
    else:
        _check_visible(part_config, run_dir)
    job = _job(cluster, form, part_config, entry, arguments, run_dir, seed)
    run_dir.mkdir(parents=True, exist_ok=True)
    for left_over in [run_dir / "outcome.json", *(job.value_path(process) for process in job.processes())]:
        left_over.unlink(missing_ok=True)
    job.write()
    with _started(job, form, parse_link(cluster.link) if cluster.link else 0.0) as launched:
        try:
            launched.wait(timeout=cluster.timeout_s)
        except subprocess.TimeoutExpired:
            raise overdue(job, cluster.timeout_s) from None
    outcome = outcome_of(job)
    return JobRun(
        form=form,
        values=[json.loads(job.value_path(p).read_text()) for p in job.processes() if p.role == "trainer"],
        traffic=outcome["traffic"] and [Traffic(**counters) for counters in outcome["traffic"]],
        wall_s=time.perf_counter() - start_s,
    )


def _choose_form(cluster: LocalCluster) -> tuple[Form, str]:
    """The form that works here, and a warning for the user if it is limited."""
    if cluster.form == "loopback":
        refusals = ["the loopback form was asked for"]
    else:
        candidates: list[namespaces.Form] = ["namespaces"] if os.geteuid() == 0 else []
        candidates = [*candidates, "userns"] if cluster.form == "auto" else [cluster.form]
        refusals = []
        for candidate in candidates:
            reason = namespaces.refusal(candidate, shaped=cluster.link is not None)
            if reason is None:
                return candidate, ""
            refusals.append(f"{candidate}: {reason}")
        if cluster.form != "auto":
            raise InputError(f"no network namespaces here ({refusals[0]})")
    why = "; ".join(refusals)
    if cluster.link is not None:
        raise InputError(f"link {cluster.link}: a link can only be shaped with network namespaces ({why})")
    if cluster.form == "loopback":
        return "loopback", ""
    return "loopback", f"note: no network namespaces here ({why}): all machines share 127.0.0.1, unshaped"


def _check_visible(*paths: Path) -> None:
    for path in paths:
        for hidden in namespaces.HIDDEN:
            if path.is_relative_to(hidden):
                raise InputError(f"{path}: each machine has a {hidden} of its own; use another folder")


def _job(
    cluster: LocalCluster,
    form: Form,
    part_config: Path,
    entry: str,
    arguments: dict[str, Any],
    run_dir: Path,
    seed: int,
) -> Job:
    if form == "loopback":
        # One more block, of which the first port is gloo's.
        *ports, master_port = loopback.free_ports(cluster.parts + 1, cluster.servers_per_machine)
        hosts = tuple(Host(loopback.ADDRESS, port, loopback.INTERFACE) for port in ports)
    else:
        master_port = MASTER_PORT
        hosts = tuple(Host(namespaces.address(machine), PORT, namespaces.INTERFACE) for machine in range(cluster.parts))
    return Job(
        entry=entry,
        arguments=arguments,
        seed=seed,
        part_config=str(part_config),
        run_dir=str(run_dir),
        hosts=hosts,
        trainers_per_machine=cluster.trainers_per_machine,
        servers_per_machine=cluster.servers_per_machine,
        master_port=master_port,
        omp_threads=cluster.omp_threads,
        samplers_per_trainer=cluster.samplers_per_trainer,
    )


@contextmanager
def _started(job: Job, form: Form, link_bytes_per_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """Start the job's zygote; at the end of the block it and all its descendants are gone."""
    token = shared_memory.new_token()
    zygote = [sys.executable, "-m", "traces.cluster.zygote", job.run_dir, form, str(link_bytes_per_s), token]
    command = zygote if form == "loopback" else [*namespaces.unshare_command(form), *zygote]
    environment = namespaces.tool_environment() | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),  # imports as here
        "PYTHONUNBUFFERED": "1",
        "DGLBACKEND": "pytorch",
        "OMP_NUM_THREADS": str(job.omp_threads),
    }
    alive, held = os.pipe()  # all descendants inherit `held`, so `alive` reads its end when the last of them is gone
    with open(Path(job.run_dir, "zygote.log"), "wb") as log:
        # A session of its own: a terminal's Ctrl-C reaches only this process, which then ends the job.
        launched = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[held],
            start_new_session=True,
        )
    os.close(held)
    try:
        yield launched
    finally:
        assert launched.stdin is not None
        launched.stdin.close()  # the end of its input tells the zygote to stop
        if not _ended(alive, STOP_S):
            os.killpg(launched.pid, signal.SIGKILL)
            _ended(alive, STOP_S)
        launched.wait()
        os.close(alive)
        shared_memory.remove(token)


def _ended(alive: int, within_s: float) -> bool:
    return bool(select.select([alive], [], [], within_s)[0])
