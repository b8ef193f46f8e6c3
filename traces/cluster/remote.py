"""A DistDGL job on real hosts, by ssh, or by srun inside a Slurm allocation."""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from traces.cluster.connections import ALIVE_S, Connections
from traces.cluster.environment import Host, Job
from traces.cluster.errors import ClusterError
from traces.cluster.hosts import HostLine
from traces.cluster.launcher import JobRun
from traces.cluster.outcome import death, last_lines, overdue
from traces.cluster.partition import check_parts
from traces.cluster.preflight import (
    TOKEN_FILE,
    address_of,
    differences,
    fingerprint,
    partition_files,
    problems,
    versions_here,
)
from traces.cluster.process import split_entry
from traces.cluster.slurm import srun_command
from traces.cluster.ssh import ssh_command
from traces.errors import InputError

PREFLIGHT_S = 60.0
START_S = 300.0
"""Time for importing torch and dgl and for loading the partitions."""
CULPRIT_S = 0.5
"""After a first failure, events of so many more seconds are read: the culprit's own may come later than those of
processes that died of it."""
GRACE_S = 5.0
FORWARDED = ("DGL", "GLOO_", "NCCL_", "TORCH_", "CUDA_", "OLLAMA_", "OPENAI_", "RUDDER_")
"""Prefixes of environment variables that are passed on to the hosts."""


@dataclass(frozen=True, kw_only=True)
class RemoteCluster:
    """Real hosts, each with one partition, its servers and its trainers; `machines[i]` gets partition i."""

    machines: tuple[HostLine, ...]
    via: Literal["ssh", "slurm"]
    ssh: tuple[str, ...] = ("ssh",)
    """The command that reaches a host, with options of the user's."""
    python: str = sys.executable
    """The Python of the hosts that has this package, torch and dgl."""
    trainers_per_machine: int = 1
    servers_per_machine: int = 1
    timeout_s: float = 3600.0
    """From the start of the servers to the end of the last trainer."""
    samplers_per_trainer: int = 0

    def __post_init__(self) -> None:
        for name in ("trainers_per_machine", "servers_per_machine", "timeout_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: must be more than 0")

    @property
    def parts(self) -> int:
        """Machines."""
        return len(self.machines)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines' names."""
        return tuple(machine.name for machine in self.machines)

    @property
    def link(self) -> None:
        """None: real links aren't shaped."""

    @property
    def form(self) -> str:
        """How the hosts are reached."""
        return self.via

    @property
    def shared_clock(self) -> bool:
        """Each host has its own `perf_counter`."""
        return False

    def check(self) -> None:
        """Raise `InputError` for hosts that can't be reached, or differ from here in Python or packages."""
        with tempfile.TemporaryDirectory() as folder, self.connect(Path(folder)) as hosts:
            answers = hosts.ask("versions", [{}] * self.parts, PREFLIGHT_S)
        here = versions_here()
        _raise_if(
            f"host {name}: {problem}"
            for name, there in zip(self.hosts, answers, strict=True)
            for problem in differences(there, here)
        )

    def run(self, part_config: Path, entry: str, arguments: dict[str, Any], run_dir: Path, seed: int = 0) -> JobRun:
        """See `run_remote`."""
        return run_remote(self, part_config, entry, arguments, run_dir, seed)

    def connect(self, run_dir: Path) -> Connections:
        """Connections to `traces.cluster.host` on all hosts, which log to `run_dir`."""
        return Connections({host: self._command(host) for host in self.hosts}, run_dir)

    def _command(self, host: str) -> list[str]:
        # Package folders of this Python would break another version before it can report its version.
        folders = [*os.environ.get("PYTHONPATH", "").split(os.pathsep), str(Path(__file__).parents[2]), os.getcwd()]
        path = os.pathsep.join(folder for folder in folders if folder and "site-packages" not in folder)
        here = sys.version_info[:2]
        program = (
            f"import sys; sys.version_info[:2] == {here} or "
            f"sys.exit('Python is %d.%d, here it is {here[0]}.{here[1]}' % sys.version_info[:2]); "
            "from traces.cluster.host import main; main()"
        )
        command = ["env", f"PYTHONPATH={path}", "PYTHONUNBUFFERED=1", self.python, "-c", program]
        return srun_command(host, command) if self.via == "slurm" else ssh_command(self.ssh, host, command)


def run_remote(
    cluster: RemoteCluster, part_config: Path, entry: str, arguments: dict[str, Any], run_dir: Path, seed: int = 0
) -> JobRun:
    """Run `entry` in every trainer of hosts that serve the partitions of `part_config`, and wait for the end.

    Entry, arguments and logs are as `local.run_local` has them. `run_dir`, and the folders that `arguments` name, must
    lie on a file system that all hosts share; the partitions may, or lie under the same path on each host.

    Raises `InputError` before anything is started, with a line for every host that can't be reached or used
    and the reason, and `ClusterError` with the culprit's last log lines when a process or a connection dies or
    `cluster.timeout_s` is over. However it ends, even by a signal to this process, nothing is left on the hosts.
    """
    start_s = perf_counter()
    part_config, run_dir = part_config.resolve(), run_dir.resolve()
    check_parts(part_config, cluster.parts)
    source, function = split_entry(entry)
    if source.endswith(".py"):
        entry = f"{Path(source).resolve()}:{function}"
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / TOKEN_FILE).write_text(uuid.uuid4().hex)
    with cluster.connect(run_dir) as hosts:
        addresses, cores = _check(cluster, hosts, part_config, run_dir)
        master_port = _check_network(cluster, hosts, addresses)
        job = Job(
            entry=entry,
            arguments=arguments,
            seed=seed,
            part_config=str(part_config),
            run_dir=str(run_dir),
            hosts=addresses,
            trainers_per_machine=cluster.trainers_per_machine,
            servers_per_machine=cluster.servers_per_machine,
            master_port=master_port,
            omp_threads=int(os.environ.get("OMP_NUM_THREADS") or max(1, cores // cluster.trainers_per_machine)),
            samplers_per_trainer=cluster.samplers_per_trainer,
        )
        for process in job.processes():
            job.value_path(process).unlink(missing_ok=True)
        job.write()
        values = _run(job, hosts, cluster.timeout_s)
    return JobRun(form=cluster.via, values=values, traffic=None, wall_s=perf_counter() - start_s, cores=cores)


def _check(
    cluster: RemoteCluster, hosts: Connections, part_config: Path, run_dir: Path
) -> tuple[tuple[Host, ...], int]:
    """Where the servers will listen, and the cores that every host has at least.

    Raises `InputError` with all that is wrong on any host.
    """
    folder = part_config.parent
    files = [partition_files(part_config, part) for part in range(cluster.parts)]
    asked = [{"folder": str(folder), "files": names, "run_dir": str(run_dir)} for names in files]
    answers = hosts.ask("facts", asked, PREFLIGHT_S)
    versions, found, addresses = versions_here(), [], []
    for machine, names, facts in zip(cluster.machines, files, answers, strict=True):
        expected = {str(folder / name): fingerprint(folder / name) for name in names}
        wrong = problems(facts, versions, expected, run_dir)
        try:
            address = address_of(machine.name, facts["addresses"], facts["resolved"])
            addresses.append(Host(address, machine.port, facts["addresses"][address], machine.name))
        except InputError as error:
            wrong.append(str(error))
        found += [f"host {machine.name}: {problem}" for problem in wrong]
    for number, host in enumerate(addresses):
        if same := [other.name for other in addresses[:number] if other.address == host.address]:
            found.append(f"host {host.name}: is {same[0]} again; DGL tells machines apart by address ({host.address})")
    _raise_if(found)
    return tuple(addresses), min(facts["cores"] for facts in answers)


def _check_network(cluster: RemoteCluster, hosts: Connections, addresses: tuple[Host, ...]) -> int:
    """A free port of machine 0. Raises `InputError` for ports in use, and hosts that don't reach each other."""
    servers = range(cluster.servers_per_machine)
    listening = [{"address": host.address, "ports": [host.port + i for i in servers]} for host in addresses]
    answers = hosts.ask("listen", listening, PREFLIGHT_S)
    _raise_if(
        f"host {host.name}: {problem}; choose another, behind the host in the file of hosts"
        for host, answer in zip(addresses, answers, strict=True)
        for problem in answer["problems"]
    )
    ports = [(host.address, p) for host, a in zip(addresses, answers, strict=True) for p in (host.port, a["free_port"])]
    asked = [{"others": [other for other in ports if other[0] != host.address]} for host in addresses]
    reached = hosts.ask("reach", asked, PREFLIGHT_S)
    _raise_if(f"host {host.name}: {p}" for host, answer in zip(addresses, reached, strict=True) for p in answer)
    return int(answers[0]["free_port"])


def _raise_if(found: Any) -> None:
    if lines := "\n".join(found):
        raise InputError(lines)


def _run(job: Job, hosts: Connections, timeout_s: float) -> list[Any]:
    """What the trainers' entries returned, by rank. Raises `ClusterError` where it doesn't come to that."""
    trainers = [process.name for process in job.processes() if process.role == "trainer"]
    alive = {process.name for process in job.processes()}
    deadline = perf_counter() + timeout_s
    environment = {name: value for name, value in os.environ.items() if name.startswith(FORWARDED)}
    asked = {"job": asdict(job), "environment": environment}
    hosts.ask("servers", [asked | {"machine": machine} for machine in range(len(job.hosts))], START_S)
    listening: set[int] = set()
    values: dict[str, Any] = {}
    while alive and perf_counter() < deadline:
        hosts.keep_alive()
        if (event := hosts.next_event(min(ALIVE_S, max(0.0, deadline - perf_counter())))) is None:
            continue
        machine, what = event
        if what["event"] == "listening":
            listening.add(machine)
            if len(listening) == len(job.hosts):
                hosts.ask("trainers", [{}] * len(job.hosts), PREFLIGHT_S)
        elif what["event"] == "value":
            values[what["process"]] = what["value"]
            if len(values) == len(trainers):
                deadline = min(deadline, perf_counter() + GRACE_S)
        elif len(values) == len(trainers):
            alive.discard(what.get("process", ""))
        elif what["event"] == "lost" or what["process"] not in values:
            raise _failure(job, hosts, machine, what)
        else:
            alive.discard(what["process"])
    if len(values) < len(trainers):
        raise overdue(job, timeout_s)
    return [values[name] for name in trainers]


def _failure(job: Job, hosts: Connections, machine: int, first: dict[str, Any]) -> ClusterError:
    """The error that names the culprit: a host that was lost, or the process that ended first."""
    deadline = perf_counter() + CULPRIT_S
    while first["event"] != "lost" and (event := hosts.next_event(max(0.0, deadline - perf_counter()))) is not None:
        if event[1]["event"] == "lost":
            machine, first = event
    if first["event"] == "lost":
        host, log = job.hosts[machine].name, hosts.log_path(machine)
        message = f"host {host} (machine {machine}): {hosts.why_lost(machine)}; last lines of {log}:"
        return ClusterError(message, machine=machine, log_lines=last_lines(log))
    process = next(process for process in job.processes() if process.name == first["process"])
    return death(job, process, first["returncode"], first["log_lines"])
