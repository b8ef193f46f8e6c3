"""Reaching the nodes of a Slurm allocation by srun, a job step a node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from traces.cluster.hosts import HostLine
from traces.errors import InputError


def slurm_hosts() -> tuple[HostLine, ...]:
    """The nodes of the allocation that this process runs in. Raises `InputError` outside of one."""
    nodes = os.environ.get("SLURM_JOB_NODELIST")
    if nodes is None:
        raise InputError("--slurm: SLURM_JOB_NODELIST is not set; run this inside an allocation (salloc or sbatch)")
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except FileNotFoundError:
        raise InputError("--slurm: scontrol is not on the path; install Slurm's client commands") from None
    except subprocess.CalledProcessError as error:
        raise InputError(f"--slurm: SLURM_JOB_NODELIST={nodes!r}: {error.stderr.strip()}") from None
    return tuple(HostLine(name) for name in names)


def srun_command(node: str, command: Sequence[str]) -> list[str]:
    """The command that runs `command` as the only task of a step on `node`, with all resources of the allocation
    there."""
    options = ["--nodes=1", "--ntasks=1", f"--nodelist={node}", "--overlap", "--mem=0", "--cpu-bind=none", "--mpi=none"]
    return ["srun", *options, "--quiet", "--", *command]
