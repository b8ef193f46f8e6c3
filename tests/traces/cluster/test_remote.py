"""Jobs on hosts behind real sshd and slurmd, a network namespace a host: what they give, and how they fail."""

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from traces.reader import Trace


def processes(run: Path, names: str) -> list[Path]:
    """Folders in /proc of the processes whose standard output is a file in `run` that the pattern `names` matches."""
    found = []
    for descriptor in Path("/proc").glob("[0-9]*/fd/1"):
        with contextlib.suppress(OSError):  # it has ended
            file = Path(os.readlink(descriptor))
            if file.parent == run and file.match(names):
                found.append(descriptor.parents[1])
    return found


@pytest.fixture
def await_epoch(tmp_path: Path, wait_until) -> Callable[[], Path]:
    """Waits until both trainers have recorded two epochs; gives where the logs are."""

    def wait() -> Path:
        fragments = tmp_path / "out" / "trace.parquet.fragments"
        wait_until(lambda: all((fragments / f"rank{rank}-epoch1.parquet").exists() for rank in range(2)))
        return fragments / "logs"

    return wait


def test_capture_over_ssh(on_hosts, tmp_path: Path) -> None:
    capture = on_hosts("ssh", "--epochs", "2")
    shown, err = capture.communicate(timeout=600)
    assert capture.returncode == 0, err
    assert "2 hosts (ssh," in shown
    trace = Trace(tmp_path / "out" / "trace.parquet")
    assert trace.header.complete
    assert (trace.header.cluster.form, trace.header.cluster.hosts) == ("ssh", ("10.77.0.1", "10.77.0.2"))
    steps = trace.steps()
    assert len(steps) == 2 * 2 * 12
    assert steps["fetch_s"].min() > 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["trace.parquet"]


@pytest.mark.parametrize("kind", ["ssh", "slurm"])
def test_models_decide_for_trainers_on_other_hosts(on_hosts, tmp_path: Path, kind: str, monkeypatch) -> None:
    """They are asked on the launching host, which trainers reach by TCP, about a cache of the user's own."""
    answers = tmp_path / "answers"
    answer = {"reason": "", "action": "replace", "share_percent": 100, "ranking": "misses", "expected_impact": ""}
    answers.write_text(json.dumps(answer) + "\n")
    monkeypatch.chdir(tmp_path)  # which the hosts' programs don't start in
    (tmp_path / "mine.py").write_text("from sim.caches.score import Score\nclass Mine(Score):\n    pass\n")
    options = ["--agent", f"scripted:{answers}", "--cache", "mine.py:Mine", "--epochs", "3", "--window", "2"]
    live = on_hosts(kind, *options, program="replay.live")
    shown, err = live.communicate(timeout=600)
    assert live.returncode == 0, err
    assert "replay.compare" in shown
    decisions = pl.read_parquet(tmp_path / "out" / "live" / "decisions.parquet")
    assert decisions["rank"].n_unique() == 2
    assert set(decisions["outcome"]) == {"valid"}
    assert decisions["replace"].all()
    assert Trace(tmp_path / "out" / "live" / "trace.parquet").header.cluster.form == kind


@pytest.mark.parametrize(
    ("kind", "process", "message", "last_line"),
    [
        ("ssh", "server-1-0", "error: server 1 (machine 1, 10.77.0.2) was killed by SIGKILL; last lines of", "Server"),
        (
            "slurm",
            "trainer-1-0",
            "error: trainer 1 (machine 1, n1) was killed by SIGKILL; last lines of",
            "Machine (1)",
        ),
    ],
)
def test_a_process_that_dies_ends_the_job(
    on_hosts, await_epoch, tmp_path: Path, kind, process, message, last_line
) -> None:
    capture = on_hosts(kind, "--epochs", "5000")
    run = await_epoch()
    (died,) = processes(run, f"{process}.log")
    os.kill(int(died.name), signal.SIGKILL)
    _, err = capture.communicate(timeout=600)
    assert capture.returncode == 1
    assert message in err
    assert f"  | {last_line}" in re.sub(r"\[[\d:]+\] ", "", err)  # of its log, without times
    assert "the whole epochs are kept in" in err
    header = Trace(tmp_path / "out" / "trace.parquet").header
    assert not header.complete
    assert header.epochs >= 2


def test_nothing_outlives_a_launcher_that_is_killed(on_hosts, await_epoch, wait_until, tmp_path: Path) -> None:
    beside = on_hosts("ssh", "--epochs", "5000", after="sleep 3600")
    run = await_epoch()
    started = processes(run, "[st]*-[01]-0.log")  # servers and trainers
    assert len(started) == 4
    (launcher,) = (p for p in Path("/proc").glob("[0-9]*") if is_launcher(p, tmp_path))
    os.kill(int(launcher.name), signal.SIGKILL)
    wait_until(lambda: not any(process.exists() for process in started))
    assert beside.poll() is None  # the machines are still there
    daemons = processes(tmp_path / "daemons", "daemon-*.log")
    assert len(daemons) == 2
    assert [list((daemon / "root/dev/shm").iterdir()) for daemon in daemons] == [[], []]


def is_launcher(process: Path, tmp_path: Path) -> bool:
    try:
        words = (process / "cmdline").read_text().split("\0")
    except OSError:
        return False
    return words[1:3] == ["-m", "traces.capture"] and str(tmp_path / "out" / "trace.parquet") in words


OTHER_DGL = """#!/bin/sh
if ip addr | grep -q 10.77.0.2/; then export PYTHONPATH={folder}:$PYTHONPATH; fi
exec {python} "$@"
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hosts": "10.77.0.1\n10.77.9.9\n"},
            "host 10.77.9.9: can't be reached (ssh: connect to host 10.77.9.9 port 22: No route to host)",
        ),
        ({"python": "/nowhere/python"}, "host 10.77.0.2: env: '/nowhere/python': No such file or directory; name the"),
        ({"python": "OTHER_DGL"}, "host 10.77.0.2: dgl is 9.9, here it is 1.1.3; install the same on all hosts"),
        (
            {"first": "{ssh} mount -t tmpfs tmpfs PARTITIONS"},
            "host 10.77.0.2: PARTITIONS/communities.json and 3 more files are missing; copy the partition",
        ),
        (
            {"first": "{ssh} 'cp -r PARTITIONS/. /dev/shm && cp -r PARTITIONS/part0/. /dev/shm/part1 &&"
             " mount --bind /dev/shm PARTITIONS'"},
            "host 10.77.0.2: PARTITIONS/part1/graph.dgl and 1 more files are not as here, but of another graph",
        ),
        (
            {"first": "{ssh} mount -t tmpfs tmpfs OUT"},
            "host 10.77.0.2: OUT/trace.parquet.fragments/logs: is not the folder that is here; the output must lie on",
        ),
        (
            {"first": "{ssh} 'python3 -m http.server 30050 >/dev/null 2>&1 </dev/null & sleep 1'"},
            "host 10.77.0.2: port 30050 of 10.77.0.2: Address already in use, by python3 (process",
        ),
        (
            {"first": "ip -n m1 route add unreachable 10.77.0.1; ip -n m0 route add unreachable 10.77.0.2"},
            "host 10.77.0.2: can't reach 10.77.0.1, port 30050 (No route to host); is there a firewall?",
        ),
    ],
    ids=["unreachable", "no-python", "other-dgl", "no-partition", "stale-partition", "not-shared", "port", "firewall"],
)  # fmt: skip
def test_hosts_that_cannot_be_used(on_hosts, part_config: Path, tmp_path: Path, options, message: str) -> None:
    """Each is one line that names host and reason, before anything is started, and nothing is left."""
    other_dgl = tmp_path / "daemons" / "python"
    stand_ins = {"PARTITIONS": str(part_config.parent), "OUT": str(tmp_path / "out"), "OTHER_DGL": str(other_dgl)}
    for name, path in stand_ins.items():
        message = message.replace(name, path)
        options = {option: text.replace(name, path) for option, text in options.items()}
    more = ("--python", options.pop("python")) if "python" in options else ()
    if str(other_dgl) in more:
        package = tmp_path / "other" / "dgl-9.9.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: dgl\nVersion: 9.9\n")
        more = ("--python", str(tmp_path / "python"))
        (tmp_path / "python").write_text(OTHER_DGL.format(folder=package.parent, python=sys.executable))
        (tmp_path / "python").chmod(0o755)
    capture = on_hosts("ssh", *more, **options)
    _, err = capture.communicate(timeout=600)
    assert capture.returncode == 2, err
    assert message in err
    assert "Traceback" not in err
    assert not list((tmp_path / "out").iterdir())
