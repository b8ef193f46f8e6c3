"""Machines on this host that are reached as real hosts are, by sshd or slurmd, and a command that reaches them.

`python hosts_here.py ssh|slurm COUNT FOLDER COMMAND...`, as process 1 of namespaces (see `here`). Machine i is
10.77.0.(i + 1), and to Slurm node n<i>. The command finds SLURM_CONF set, or reaches the machines by `ssh(FOLDER)`.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from traces.cluster import namespaces

HUB = "10.77.255.254"
NEEDED = {
    "ssh": {"sshd": "openssh-server", "ssh": "openssh-client"},
    "slurm": {"slurmd": "slurmd", "slurmctld": "slurmctld", "salloc": "slurm-client", "munged": "munge"},
}
SSHD_CONFIG = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PidFile none
"""
SSH = "ssh -F none -i {folder}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known_hosts"
SLURM_CONF = """
ClusterName=here
SlurmctldHost={name}({hub})
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
NodeName=n[0-{last}] NodeAddr=10.77.0.[1-{count}] CPUs={cores}
PartitionName=all Nodes=ALL Default=YES
"""


def refusal(kind: str) -> str | None:
    """Why these machines can't be had here; None if they can."""
    if os.geteuid() != 0:
        return f"needs root, as {kind}d changes users"
    for tool, package in NEEDED[kind].items():
        if shutil.which(tool, path=namespaces.tool_environment()["PATH"]) is None:
            return f"{tool} is missing: install {package}"
    return namespaces.refusal("namespaces", shaped=False)


def here(kind: str, count: int, folder: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` beside `count` machines."""
    start = [sys.executable, __file__, kind, str(count), str(folder)]
    return [*namespaces.unshare_command("namespaces"), *start, *command]


def ssh(folder: Path) -> str:
    """The ssh command that reaches the machines."""
    return SSH.format(folder=folder)


def main(kind: str, count: int, folder: Path, command: list[str]) -> int:
    os.environ["PATH"] = namespaces.tool_environment()["PATH"]
    machines = namespaces.Machines(count, None)
    run("ip", "addr", "add", f"{HUB}/16", "dev", "sw0")
    daemons = start_sshd(count, folder) if kind == "ssh" else start_slurm(count, folder)
    for machine, daemon in enumerate(daemons):
        if os.fork() == 0:
            machines.enter(machine)
            output = os.open(folder / f"daemon-{machine}.log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.execvp(daemon[0], daemon)
    while not all_are_up(kind, count):
        time.sleep(0.1)
    return subprocess.run(command, check=False).returncode


def all_are_up(kind: str, count: int) -> bool:
    if kind == "slurm":
        states = subprocess.run(["sinfo", "-ho", "%t %D"], capture_output=True, text=True, check=False)
        return states.stdout == f"idle {count}\n"
    with contextlib.ExitStack() as held:
        try:
            for machine in range(count):
                held.enter_context(socket.create_connection((namespaces.address(machine), 22)))
        except ConnectionRefusedError:
            return False
    return True


def start_sshd(count: int, folder: Path) -> list[list[str]]:
    """Make the keys; the command of each machine's sshd."""
    os.mkdir("/run/sshd")
    for key in ("key", "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    (folder / "known_hosts").write_text(f"10.77.* {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=folder))
    return [[shutil.which("sshd") or "", "-D", "-e", "-f", f"{folder}/sshd_config"]] * count


def start_slurm(count: int, folder: Path) -> list[list[str]]:
    """Start munged and slurmctld; the command of each machine's slurmd."""
    (folder / "state").mkdir()
    run("mungekey", "-c", "-k", f"{folder}/munge.key")
    paths = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    run("munged", "--force", *(f"--{option}={folder}/munge.{end}" for option, end in paths.items()))
    conf = SLURM_CONF.format(
        name=os.uname().nodename, hub=HUB, folder=folder, count=count, last=count - 1, cores=os.cpu_count()
    )
    (folder / "slurm.conf").write_text(conf)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    run("slurmctld")
    return [["slurmd", "-D", "-N", f"n{machine}"] for machine in range(count)]


def run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
