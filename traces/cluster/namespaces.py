"""Machines made of Linux namespaces: each has a network of its own, with a shaped link, and a /dev/shm of its own.

All of it lives in anonymous namespaces of one `unshare`, which the kernel takes down with the last process in
them: no interface, mount or process is ever visible from, or left on, the host. Needs iproute2 and util-linux;
without root, the kernel must allow unprivileged user namespaces. A link has a rate but no delay: netem is
missing from many kernels.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Form = Literal["namespaces", "userns"]

INTERFACE = "eth0"
HIDDEN = (Path("/run"), Path("/dev/shm"))
"""Folders that are private to each machine."""
TOOLS = {"ip": "iproute2", "tc": "iproute2", "unshare": "util-linux", "mount": "mount"}
SUBNET = "10.77.0.0/16"
QUEUE_BYTES = 32 << 20
"""Queue length at which links drop nothing. After a loss TCP may wait for 200 ms, which would distort timings."""
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Traffic:
    """What went through one machine's network interface, headers and acknowledgements included."""

    received_bytes: int
    sent_bytes: int


def tool_environment() -> dict[str, str]:
    """The environment with the folders of `ip` and `tc` on the path, which ordinary users often lack."""
    return os.environ | {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"}


def unshare_command(form: Form) -> list[str]:
    """The command that runs another as process 1 of new namespaces, and kills all in them when it ends.

    No time namespace: `perf_counter` stays one clock for all processes.
    """
    as_root = ["--user", "--map-root-user"] if form == "userns" else []
    return ["unshare", *as_root, "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


def refusal(form: Form, shaped: bool) -> str | None:
    """Try to make machines of this form. Returns why they can't be made here, or None."""
    environment = tool_environment()
    for tool, package in TOOLS.items():
        if shutil.which(tool, path=environment["PATH"]) is None:
            return f"{tool} is missing: install {package}"
    trial = [
        "mount -t tmpfs tmpfs /run",
        "ip link add sw0 type bridge",
        "ip netns add m0",
        "ip link add p0 type veth peer name eth0 netns m0",
        *(["tc qdisc add dev p0 root tbf rate 1mbit burst 64kb latency 100ms"] if shaped else []),
    ]
    command = [*unshare_command(form), "sh", "-c", " && ".join(trial)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]


def address(machine: int) -> str:
    return f"10.77.{machine // 250}.{machine % 250 + 1}"


class Machines:
    """`count` machines on one switch, each behind a link of `link_bytes_per_s` both ways (None: unshaped).

    To be made by process 1 of the namespaces while it has one thread; each process of a machine then `enter`s it.
    """

    def __init__(self, count: int, link_bytes_per_s: float | None) -> None:
        _run("mount -t tmpfs tmpfs /run")  # `ip netns` keeps its names there
        _run("ip link set lo up")
        _run("ip link add sw0 type bridge")
        _run("ip link set sw0 up")
        for machine in range(count):
            _add_machine(machine, link_bytes_per_s)
        self.count = count
        self._networks = [os.open(f"/run/netns/m{machine}", os.O_RDONLY) for machine in range(count)]
        self._mounts = _private_shared_memory(count)

    def enter(self, machine: int) -> None:
        """Move this process, which has one thread, into `machine`."""
        folder = os.getcwd()
        _setns(self._networks[machine], CLONE_NEWNET)
        _setns(self._mounts[machine], CLONE_NEWNS)
        os.chdir(folder)  # entering a mount namespace changes the working folder to its root

    def traffic(self) -> list[Traffic]:
        """The counters of each machine's interface since it was made."""
        traffic = []
        for machine in range(self.count):
            counters = json.loads(_run(f"ip -n m{machine} -s -j link show {INTERFACE}"))[0]["stats64"]
            traffic.append(Traffic(counters["rx"]["bytes"], counters["tx"]["bytes"]))
        return traffic


def _add_machine(machine: int, link_bytes_per_s: float | None) -> None:
    name, port = f"m{machine}", f"p{machine}"
    _run(f"ip netns add {name}")
    _run(f"ip link add {port} type veth peer name {INTERFACE} netns {name}")
    _run(f"ip link set {port} master sw0 up")
    _run(f"ip -n {name} link set lo up")
    _run(f"ip -n {name} addr add {address(machine)}/16 dev {INTERFACE}")
    _run(f"ip -n {name} link set {INTERFACE} up")
    if link_bytes_per_s is not None:
        # 4 ms of traffic: less starves fast links between two timer ticks, more lets short bursts by unshaped.
        burst_bytes = max(65536, round(link_bytes_per_s * 0.004))
        shape = f"root tbf rate {round(link_bytes_per_s * 8)}bit burst {burst_bytes} limit {QUEUE_BYTES}"
        _run(f"tc -n {name} qdisc add dev {INTERFACE} {shape}")
        # What a connection may have under way. Without a bound, all that a trainer has asked for stands in one deep
        # queue, and an all-reduce waits behind it: 75 ms instead of 40 in pipelined training at 200 Mbit/s.
        window_bytes = max(65536, round(link_bytes_per_s * 0.002))
        _run(f"ip -n {name} route replace {SUBNET} dev {INTERFACE} src {address(machine)} window {window_bytes}")
        _run(f"tc qdisc add dev {port} {shape}")


def _private_shared_memory(count: int) -> list[int]:
    """Open `count` mount namespaces that differ from this one, and each other, in /dev/shm."""
    mounts = []
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    folder = os.getcwd()
    for _ in range(count):
        _check(_libc().unshare(CLONE_NEWNS), "unshare")
        _run("mount -t tmpfs tmpfs /dev/shm")
        mounts.append(os.open("/proc/self/ns/mnt", os.O_RDONLY))
        _setns(home, CLONE_NEWNS)
    os.chdir(folder)
    os.close(home)
    return mounts


def _run(command: str) -> str:
    return subprocess.run(command.split(), check=True, stdout=subprocess.PIPE, text=True).stdout


def _setns(descriptor: int, kind: int) -> None:
    _check(_libc().setns(descriptor, kind), "setns")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")
