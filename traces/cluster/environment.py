"""A job, its processes, and the environment variables of each, for any launcher."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Role = Literal["server", "trainer"]

PORT = 30050
"""Where a machine's first server listens unless told otherwise; DGL's own default."""
MASTER_PORT = 29500
"""Where the trainers meet, on machine 0; torch's own default."""


@dataclass(frozen=True)
class Host:
    """Where the servers of one machine listen: server i of the machine at `port` + i."""

    address: str
    port: int
    interface: str
    """The network interface that has the address; gloo uses it."""
    name: str = ""
    """The user's name of a real host; machines of a local cluster have none."""


@dataclass(frozen=True)
class Process:
    """One process of a job: the `index`-th of its role on `machine`, the `number`-th of its role in the job.

    The number of a trainer is its rank, that of a server its DGL server id.
    """

    role: Role
    machine: int
    index: int
    number: int

    @property
    def name(self) -> str:
        return f"{self.role}-{self.machine}-{self.index}"


@dataclass(frozen=True)
class Job:
    """A job: the program of all processes, its arguments, and the machines; machine i holds partition i."""

    entry: str
    """`module:function` or `path/to/file.py:function`."""
    arguments: dict[str, Any]
    """What the entry function is called with; JSON values only."""
    seed: int
    part_config: str
    run_dir: str
    hosts: tuple[Host, ...]
    trainers_per_machine: int
    servers_per_machine: int
    master_port: int
    omp_threads: int
    samplers_per_trainer: int = 0
    """Processes that DGL starts for each trainer, to sample for it."""

    def processes(self) -> Iterator[Process]:
        """Servers first, so that they listen when the trainers come."""
        roles: list[tuple[Role, int]] = [("server", self.servers_per_machine), ("trainer", self.trainers_per_machine)]
        for role, per_machine in roles:
            for machine in range(len(self.hosts)):
                for index in range(per_machine):
                    yield Process(role, machine, index, machine * per_machine + index)

    def log_path(self, process: Process) -> Path:
        return Path(self.run_dir, f"{process.name}.log")

    def value_path(self, process: Process) -> Path:
        """Where a trainer leaves what its entry function returned; the file's existence says that it has."""
        return Path(self.run_dir, f"{process.name}.json")

    def port(self, server: Process) -> int:
        """Where a server listens."""
        return self.hosts[server.machine].port + server.index

    @property
    def ip_config_path(self) -> Path:
        return Path(self.run_dir, "ip_config.txt")

    def environment(self, process: Process) -> dict[str, str]:
        """The environment variables of `process`: DGL's, torch's, and those that `process.main` reads."""
        trainers = len(self.hosts) * self.trainers_per_machine
        environment = {
            "DGLBACKEND": "pytorch",
            "DGL_DIST_MODE": "distributed",
            "DGL_ROLE": "server" if process.role == "server" else "client",
            "DGL_IP_CONFIG": str(self.ip_config_path),
            "DGL_CONF_PATH": self.part_config,
            "DGL_NUM_SERVER": str(self.servers_per_machine),
            "DGL_NUM_CLIENT": str(trainers * (1 + self.samplers_per_trainer)),
            "DGL_NUM_SAMPLER": str(self.samplers_per_trainer),
            "DGL_GRAPH_FORMAT": "csc",
            "DGL_GROUP_ID": "0",
            "DGL_KEEP_ALIVE": "0",
            "OMP_NUM_THREADS": str(self.omp_threads),
            "RUDDER_ENTRY": self.entry,
            "RUDDER_ARGUMENTS": json.dumps(self.arguments),
            "RUDDER_SEED": str(self.seed),
            "RUDDER_MACHINE": str(process.machine),
            "RUDDER_VALUE_PATH": str(self.value_path(process)),
        }
        if process.role == "server":
            return environment | {"DGL_SERVER_ID": str(process.number)}
        return environment | {
            "RANK": str(process.number),
            "LOCAL_RANK": str(process.index),
            "WORLD_SIZE": str(trainers),
            "MASTER_ADDR": self.hosts[0].address,
            "MASTER_PORT": str(self.master_port),
            "GLOO_SOCKET_IFNAME": self.hosts[process.machine].interface,
        }

    def write(self) -> None:
        """Write the job and DGL's list of servers to `run_dir`."""
        self.ip_config_path.write_text("".join(f"{host.address} {host.port}\n" for host in self.hosts))
        Path(self.run_dir, "job.json").write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, run_dir: Path) -> Job:
        """What `write` left."""
        return cls.from_json(json.loads((run_dir / "job.json").read_text()))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Job:
        """The job whose `asdict` was turned into JSON."""
        return cls(**fields | {"hosts": tuple(Host(**host) for host in fields["hosts"])})
