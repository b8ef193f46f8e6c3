"""Command-line options for the cluster: local machines, hosts by ssh, or a Slurm allocation."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer

from traces.cluster.hosts import read_hosts
from traces.cluster.launcher import Cluster
from traces.cluster.local import Form, LocalCluster
from traces.cluster.remote import RemoteCluster
from traces.cluster.slurm import slurm_hosts
from traces.errors import InputError

LOCAL_PARTS = 4

Hosts = Annotated[
    Path | None,
    typer.Option("--hosts", help="Run on the hosts in this file by ssh: an address or name a line, then maybe a port."),
]
Slurm = Annotated[bool, typer.Option("--slurm", help="Run on the nodes of the Slurm allocation around this command.")]
Python = Annotated[str, typer.Option("--python", help="Python on the hosts.", show_default="the path of this one")]
Ssh = Annotated[str, typer.Option("--ssh", help="Command that reaches a host, such as 'ssh -p 2222 -i key'.")]
THIS_PYTHON = sys.executable


def choose_cluster(
    *,
    parts: int | None,
    hosts: Path | None = None,
    slurm: bool = False,
    trainers: int = 1,
    servers: int = 1,
    samplers: int = 0,
    timeout_s: float,
    link: str | None = None,
    form: str = "auto",
    python: str = THIS_PYTHON,
    ssh: str = "ssh",
) -> Cluster:
    """The cluster that the options of a command name; `parts` None: as many as there are hosts.

    Raises `InputError` for options that exclude each other, a file of hosts that can't be used, and `slurm` outside of
    an allocation.
    """
    if hosts is None and not slurm:
        return LocalCluster(
            parts=LOCAL_PARTS if parts is None else parts,
            trainers_per_machine=trainers,
            servers_per_machine=servers,
            samplers_per_trainer=samplers,
            link=link,
            form=form,  # type: ignore[arg-type]  # checked by LocalCluster
            timeout_s=timeout_s,
        )
    where = "--slurm" if hosts is None else f"--hosts {hosts}"
    if hosts is not None and slurm:
        raise InputError(f"{where} and --slurm: choose one")
    if link is not None:
        raise InputError(f"--link {link} and {where}: only the links of a local cluster can be shaped; leave it out")
    if form != "auto":
        forms = ", ".join(get_args(Form))
        raise InputError(f"--form {form} and {where}: {forms} are what a local cluster is made of; leave it out")
    try:
        ssh_words = tuple(shlex.split(ssh))
    except ValueError as error:
        raise InputError(f"--ssh {ssh!r}: {error}") from None
    found = slurm_hosts() if hosts is None else read_hosts(hosts)
    if parts not in (None, len(found)):
        raise InputError(f"{where}: names {len(found)} hosts, but {parts} parts were asked for; each host has one part")
    return RemoteCluster(
        machines=found,
        via="slurm" if hosts is None else "ssh",
        ssh=ssh_words,
        python=python,
        trainers_per_machine=trainers,
        servers_per_machine=servers,
        samplers_per_trainer=samplers,
        timeout_s=timeout_s,
    )
