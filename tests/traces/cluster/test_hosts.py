"""How hosts are named, and what is told of them before anything runs there."""

import subprocess
import sys
from pathlib import Path

import pytest

from traces.cluster import shared_memory
from traces.cluster.hosts import HostLine, read_hosts
from traces.cluster.options import choose_cluster
from traces.cluster.preflight import (
    TOKEN_FILE,
    address_of,
    facts_here,
    fingerprint,
    partition_files,
    problems,
    versions_here,
)
from traces.cluster.slurm import slurm_hosts
from traces.cluster.ssh import ssh_command
from traces.errors import InputError


def test_hosts_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts.txt"
    file.write_text("# our rack\n10.0.0.1\n\n10.0.0.2 40000   # crowded\n  node-3.example.org\n")
    assert read_hosts(file) == (
        HostLine("10.0.0.1"),
        HostLine("10.0.0.2", 40000),
        HostLine("node-3.example.org"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        ("# only a comment\n", "names no host"),
        ("a\na 31000\n", "line 2: a is there twice"),
        ("127.0.0.1 30050\n127.0.0.1 30051\n", "use --local NUMBER instead of --hosts"),
        ("a 80\n", "line 1: port '80' must be a number from 1024 to 65535"),
        ("a 65536\n", "port '65536'"),
        ("a ٣٠٠٥٠\n", "port"),
        ("a 30050 2\n", "line 1: 'a 30050 2' has more than an address and a port"),
        ("-oProxyCommand=touch${IFS}x\n", "line 1: '-oProxyCommand=touch${IFS}x' is neither"),
        ("a;reboot\n", "'a;reboot' is neither"),
        ("$(reboot)\n", "is neither"),
        ("me@a\n", "'me@a' is neither an IPv4 address nor a host's name"),
    ],
)
def test_hosts_files_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hosts.txt"
    file.write_text(text)
    with pytest.raises(InputError) as raised:
        read_hosts(file)
    assert message in str(raised.value)
    assert str(file) in str(raised.value)


def test_no_hosts_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read as a list of hosts"):
        read_hosts(tmp_path / "nowhere.txt")


def test_remote_shells_get_words_as_they_are() -> None:
    """The last word of ssh's command line is what the shell on the host reads."""
    words = ["printf", "%s\n", "a b", "$HOME", "'", "`id`", ";"]
    command = ssh_command(["ssh", "-p", "2222"], "node", words)
    assert command[:3] == ["ssh", "-p", "2222"]
    assert command[-3:-1] == ["--", "node"]
    done = subprocess.run(["sh", "-c", command[-1]], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words[2:]


def test_slurm_outside_of_an_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    with pytest.raises(InputError, match="run this inside an allocation"):
        slurm_hosts()
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n[0-1]")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="scontrol is not on the path"):
        slurm_hosts()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slurm": True}, "--slurm: choose one"),
        ({"link": "1gbit"}, "only the links of a local cluster can be shaped"),
        ({"form": "userns"}, "--form userns"),
        ({"parts": 3}, "names 2 hosts, but 3 parts were asked for"),
        ({"trainers": 0}, "trainers_per_machine is 0"),
        ({"ssh": "'"}, "--ssh"),
    ],
)
def test_options_that_exclude_each_other(tmp_path: Path, options, message: str) -> None:
    file = tmp_path / "hosts.txt"
    file.write_text("a\nb\n")
    with pytest.raises(InputError, match=message):
        choose_cluster(**{"parts": None, "hosts": file, "timeout_s": 1.0} | options)


def test_the_address_that_other_hosts_know() -> None:
    assert address_of("10.0.0.2", ["127.0.0.1", "192.168.0.2", "10.0.0.2"], []) == "10.0.0.2"
    assert address_of("known.only.to.ssh.invalid", ["127.0.0.1", "10.0.0.2"], []) == "10.0.0.2"
    assert address_of("known.only.to.ssh.invalid", ["172.17.0.1", "10.0.0.2"], ["10.0.0.2"]) == "10.0.0.2"
    with pytest.raises(InputError, match=r"none of its addresses \(10\.0\.0\.3\) is that of 10\.0\.0\.2"):
        address_of("10.0.0.2", ["127.0.0.1", "10.0.0.3"], ["10.0.0.3"])
    with pytest.raises(InputError, match=r"\(172\.17\.0\.1, 10\.0\.0\.2\)"):
        address_of("known.only.to.ssh.invalid", ["172.17.0.1", "10.0.0.2"], ["127.0.1.1"])


def test_fingerprints(tmp_path: Path) -> None:
    """Of a file too large to be read whole: its size and blocks all over it."""
    file = tmp_path / "part.dgl"
    file.write_bytes(bytes(20_000_000))
    whole = fingerprint(file)
    for offset in (0, 10_000_000, 19_999_999):
        with open(file, "r+b") as changed:
            changed.seek(offset)
            changed.write(b"x" * min(400_000, 20_000_000 - offset))
        assert fingerprint(file) != whole
        file.write_bytes(bytes(20_000_000))
    assert fingerprint(file) == whole
    file.write_bytes(bytes(20_000_001))
    assert fingerprint(file) != whole
    assert fingerprint(tmp_path / "nothing") == "missing"
    assert fingerprint(tmp_path) == "Is a directory"


def test_problems_in_words(part_config: Path, tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).write_text("secret")
    files = partition_files(part_config, 0)
    facts = facts_here(str(part_config.parent), files, str(tmp_path))
    expected = {str(part_config.parent / file): fingerprint(part_config.parent / file) for file in files}
    versions = versions_here()
    assert problems(facts, versions, expected, tmp_path) == []
    assert problems(facts | {"free_bytes": 12e6}, versions, expected, tmp_path) == [
        f"{tmp_path}: has 12 MB free, a run needs 1000"
    ]
    assert problems(facts | {"writable": False}, versions, expected, tmp_path) == [f"{tmp_path}: can't be written to"]
    (torch,) = problems(facts, versions | {"torch": "1.0"}, expected, tmp_path)
    assert torch == f"torch is {versions['torch']}, here it is 1.0; install the same on all hosts"


def test_what_killed_jobs_left_in_shared_memory_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "FOLDER", tmp_path)
    code = "import sys, pathlib; from traces.cluster import shared_memory as s; s.FOLDER = pathlib.Path(sys.argv[1]);"
    live = subprocess.Popen(
        [sys.executable, "-c", code + "s.hold('rudder-live'); print(flush=True); input()", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    live.stdout.readline()
    subprocess.run([sys.executable, "-c", code + "s.hold('rudder-dead')", str(tmp_path)], check=True)
    for name in ("rudder-live-m0-feat", "rudder-dead-m0-feat", "somebody-else"):
        (tmp_path / name).touch()
    shared_memory.hold("rudder-new")
    live.communicate(b"\n")
    assert {path.name for path in tmp_path.iterdir()} == {
        "rudder-live.lock",
        "rudder-live-m0-feat",
        "rudder-new.lock",
        "somebody-else",
    }
