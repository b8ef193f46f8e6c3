"""Commands run beside machines that are reached as real hosts are."""

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("hosts_here", Path(__file__).with_name("hosts_here.py"))
hosts_here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hosts_here)

HOSTS = "10.77.0.1\n10.77.0.2  # the second\n"


@pytest.fixture
def on_hosts(tmp_path: Path, part_config: Path, graph_dir: Path) -> Callable[..., subprocess.Popen]:
    """Starts a capture to out/trace.parquet on two hosts: `on_hosts("ssh", "--epochs", "3", first="mount ...")`; or
    a live run to out/live, with `program="replay.live"`.

    `first` and `after` are commands that a shell beside the machines runs; {ssh} in the first reaches machine 1.
    """
    started = []

    def start(
        kind: str,
        *options: str,
        hosts: str = HOSTS,
        first: str = ":",
        after: str = ":",
        program: str = "traces.capture",
    ) -> subprocess.Popen:
        if reason := hosts_here.refusal(kind):
            pytest.skip(reason)
        folder = tmp_path / "daemons"
        folder.mkdir()
        (tmp_path / "out").mkdir()
        (tmp_path / "hosts.txt").write_text(hosts)
        command = [sys.executable, "-m", program, "--graph", str(graph_dir)]
        command += ["--partitions", str(part_config.parent), "--fanout", "4,4", "--batch", "100"]
        if program == "traces.capture":
            command += ["--overhead-epochs", "0", "--out", str(tmp_path / "out" / "trace.parquet")]
        else:
            command += ["--out", str(tmp_path / "out" / "live")]
        ssh = hosts_here.ssh(folder)
        if kind == "ssh":
            command += ["--hosts", str(tmp_path / "hosts.txt"), "--ssh", ssh]
        else:
            command = ["salloc", "--quiet", "--nodes=2", *command, "--slurm"]
        shell = (
            f"{first.format(ssh=f'{ssh} 10.77.0.2')}\n{shlex.join([*command, *options])}\ncode=$?\n{after}\nexit $code"
        )
        pipe = subprocess.PIPE
        beside = hosts_here.here(kind, 2, folder, ["sh", "-c", shell])
        one_thread = os.environ | {"OMP_NUM_THREADS": "1"}  # both hosts have the same cores
        started.append(subprocess.Popen(beside, stdout=pipe, stderr=pipe, text=True, env=one_thread))
        return started[-1]

    yield start
    for program in started:
        program.kill()
        program.communicate()
