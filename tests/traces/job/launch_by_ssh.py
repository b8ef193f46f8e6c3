"""Stands for DGL's own launch.py: servers and torchrun's trainers by ssh, each running the same command.

`python launch_by_ssh.py SSH FOLDER PART_CONFIG COMMAND...`, COMMAND being `-m module ...`. FOLDER gets the logs.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path


def main(ssh: str, folder: Path, part_config: Path, command: list[str]) -> int:
    parts = json.loads(part_config.read_text())["num_parts"]
    ip_config = folder / "ip_config.txt"
    ip_config.write_text("".join(f"10.77.0.{machine + 1} 30050\n" for machine in range(parts)))
    told = {
        "DGL_DIST_MODE": "distributed",
        "DGL_CONF_PATH": str(part_config),
        "DGL_IP_CONFIG": str(ip_config),
        "DGL_NUM_SERVER": "1",
        "DGL_NUM_SAMPLER": "0",
        "DGL_NUM_CLIENT": str(parts),
        "DGL_GRAPH_FORMAT": "csc",
        "DGLBACKEND": "pytorch",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "eth0",
        "PYTHONPATH": os.environ["PYTHONPATH"],
    }

    def start(machine: int, name: str, environment: dict[str, str], words: list[str]) -> subprocess.Popen[bytes]:
        remote = shlex.join(["env", *(f"{key}={value}" for key, value in (told | environment).items()), *words])
        address = f"10.77.0.{machine + 1}"
        with open(folder / f"{name}{machine}.log", "wb") as log:
            return subprocess.Popen([*shlex.split(ssh), address, remote], stdout=log, stderr=log)

    trainers = []
    for machine in range(parts):
        words = [part.replace("{ip_config}", str(ip_config)) for part in command]
        server = {"DGL_ROLE": "server", "DGL_SERVER_ID": str(machine)}
        start(machine, "server", server, [sys.executable, *words])
        torchrun = ["-m", "torch.distributed.run", "--nnodes", str(parts), "--node-rank", str(machine)]
        torchrun += ["--nproc-per-node", "1", "--master-addr", "10.77.0.1", "--master-port", "29500"]
        trainers.append(start(machine, "trainer", {"DGL_ROLE": "client"}, [sys.executable, *torchrun, *words]))
    return max(trainer.wait() for trainer in trainers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:]))
