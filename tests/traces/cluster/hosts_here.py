"""Machines on this host with an sshd each, and a command that reaches them from a switch between them.

`python hosts_here.py COUNT FOLDER COMMAND...`, as process 1 of namespaces (see `here`). Machine i is 10.77.0.(i + 1);
the other end of its network is `p<i>`, which the command sees.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from traces.cluster import namespaces

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or ""
REFUSAL = (
    "needs root: sshd changes users"
    if os.geteuid()
    else "sshd is missing: install openssh-server"
    if not SSHD
    else namespaces.refusal("namespaces", shaped=False)
)
SSHD_CONFIG = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PidFile none
"""
SSH = "ssh -F none -i {folder}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known_hosts"


def here(count: int, folder: Path, command: list[str]) -> list[str]:
    """The command line that runs `command` between `count` machines."""
    return [*namespaces.unshare_command("namespaces"), sys.executable, __file__, str(count), str(folder), *command]


def ssh(folder: Path) -> str:
    """The ssh command that reaches the machines."""
    return SSH.format(folder=folder)


def main(count: int, folder: Path, command: list[str]) -> int:
    machines = namespaces.Machines(count, None)
    subprocess.run(["ip", "addr", "add", "10.77.255.254/16", "dev", "sw0"], check=True)
    os.mkdir("/run/sshd")
    for key in ("key", "host_key"):
        if not (folder / key).exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "known_hosts").write_text(f"10.77.* {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(SSHD_CONFIG.format(folder=folder))
    for machine in range(count):
        if os.fork() == 0:
            machines.enter(machine)
            os.execv(SSHD, [SSHD, "-D", "-E", f"{folder}/sshd-{machine}.log", "-f", f"{folder}/sshd_config"])
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
