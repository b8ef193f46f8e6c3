"""The interface of all launchers: a cluster that can run a job, on namespaces or on real hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from traces.cluster.namespaces import Traffic
from traces.cores import usable_cores


@dataclass(frozen=True)
class JobRun:
    """The result of a job that succeeded."""

    form: str
    """What the machines were: `namespaces`, `userns` or `loopback` on one host, else the launcher's name."""
    values: list[Any]
    """What each trainer's entry function returned, by rank."""
    traffic: list[Traffic] | None
    """Traffic of each machine; None where it isn't counted."""
    wall_s: float
    cores: int = field(default_factory=usable_cores)
    """Cores of a machine: those of the host with the fewest, or of the one host that all machines share."""


class Cluster(Protocol):
    """Machines that can run a DistDGL job; machine i holds partition i."""

    @property
    def parts(self) -> int:
        """Machines."""

    @property
    def trainers_per_machine(self) -> int: ...

    @property
    def servers_per_machine(self) -> int: ...

    @property
    def link(self) -> str | None:
        """Rate of each machine's link, as `parse_link` reads it, where it is known."""

    @property
    def form(self) -> str: ...

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines' names, for people."""

    @property
    def shared_clock(self) -> bool:
        """Whether `perf_counter` is one clock for all processes."""

    def check(self) -> None:
        """Raise `InputError` for machines that can't be used. Checks what doesn't need a partition."""

    def run(self, part_config: Path, entry: str, arguments: dict[str, Any], run_dir: Path, seed: int = 0) -> JobRun:
        """Run `entry` in every trainer, and wait for the end; see `local.run_local` for what it raises and leaves.

        `run_dir`, and whatever `arguments` name, must be the same folders on every machine.
        """
