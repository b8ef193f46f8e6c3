"""Checks of every host before a job starts: facts are gathered there (`facts_here`) and checked here (`problems`)."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from traces.cluster import shared_memory
from traces.cluster.partition import part_files
from traces.cores import usable_cores
from traces.errors import InputError

PACKAGES = ("dgl", "torch", "numpy", "rudder-twin")
OWN_FOLDERS = ("traces", "agents", "sim", "replay")
MIN_FREE_BYTES = 10**9
"""Free space that a run needs in the folder of its output."""
BLOCK_BYTES = 1 << 16
BLOCKS = 64
TOKEN_FILE = "launch.token"


def versions_here() -> dict[str, str]:
    """Versions that must agree on all hosts: Python, packages, and a checksum of this package's sources."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])} | {name: _version(name) for name in PACKAGES}
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted(path for folder in OWN_FOLDERS for path in root.glob(f"{folder}/**/*.py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found | {"rudder-twin's sources": digest.hexdigest()[:12]}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def partition_files(part_config: Path, part: int) -> list[str]:
    """The files of one part, and the configuration itself, by their paths from the folder of `part_config`."""
    return [part_config.name, *part_files(json.loads(part_config.read_text()), part)]


def fingerprint(path: Path) -> str:
    """A checksum of a file's size and of up to 64 blocks of 64 KiB, spread evenly; "missing" where there is none.

    A sample suffices: parts hold gigabytes, and those of another graph or partition differ everywhere.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(str(size).encode())
            blocks, last = min(BLOCKS, -(-size // BLOCK_BYTES)), max(0, size - BLOCK_BYTES)
            for block in range(blocks):
                file.seek(last * block // max(1, blocks - 1))
                digest.update(file.read(BLOCK_BYTES))
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        return error.strerror or str(error)
    return digest.hexdigest()[:16]


def facts_here(folder: str, files: list[str], run_dir: str) -> dict[str, Any]:
    """Facts of this host, as JSON values; `files` of the partition lie in `folder`."""
    import psutil

    paths = [Path(folder, file) for file in files]
    room = None
    try:
        shared_memory.check_room(path for path in paths if path.suffix == ".dgl" and path.exists())
    except InputError as error:
        room = str(error)
    token = Path(run_dir, TOKEN_FILE)
    return {
        "versions": versions_here(),
        "addresses": {
            address.address: interface
            for interface, addresses in psutil.net_if_addrs().items()
            for address in addresses
            if address.family == socket.AF_INET
        },
        "resolved": resolve(socket.gethostname()),
        "fingerprints": {str(path): fingerprint(path) for path in paths},
        "room": room,
        "token": token.read_text() if token.is_file() else None,
        "writable": os.access(run_dir, os.W_OK),
        "free_bytes": shutil.disk_usage(run_dir).free if token.is_file() else 0,
        "cores": usable_cores(),
    }


def differences(there: dict[str, str], here: dict[str, str]) -> list[str]:
    """A sentence for each version that differs between a host and here."""
    return [
        f"{package} is {there.get(package, 'missing')}, here it is {version}; install the same on all hosts"
        for package, version in here.items()
        if there.get(package) != version
    ]


def problems(facts: dict[str, Any], versions: dict[str, str], expected: dict[str, str], run_dir: Path) -> list[str]:
    """A sentence for each problem of a host: its `facts` are compared with versions and fingerprints here."""
    found = differences(facts["versions"], versions)
    there = facts["fingerprints"]
    if missing := [path for path in expected if there[path] == "missing"]:
        found.append(f"{_and_more(missing)} missing; copy the partition, or keep it on a shared file system")
    if other := [path for path, here in expected.items() if there[path] not in (here, "missing")]:
        found.append(f"{_and_more(other)} not as here, but of another graph or partition; copy the partition again")
    if facts["room"]:
        found.append(facts["room"])
    if facts["token"] != (run_dir / TOKEN_FILE).read_text():
        found.append(f"{run_dir}: is not the folder that is here; the output must lie on a file system of all hosts")
    elif not facts["writable"]:
        found.append(f"{run_dir}: can't be written to")
    elif facts["free_bytes"] < MIN_FREE_BYTES:
        found.append(f"{run_dir}: has {facts['free_bytes'] / 1e6:.0f} MB free, a run needs {MIN_FREE_BYTES / 1e6:.0f}")
    return found


def _and_more(paths: list[str]) -> str:
    return f"{paths[0]} is" if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more files are"


def address_of(name: str, addresses: Iterable[str], resolved_there: Iterable[str]) -> str:
    """The address of the host called `name`, out of those that its interfaces have.

    DGL finds its machine by comparing addresses, so the address must be one of these. Other hosts must reach it, so it
    can't be 127.*. Candidates are what the name resolves to here, then what the host's own name resolves to there
    (`resolved_there`). Raises `InputError` if none of them is an address of the host.
    """
    own = [address for address in addresses if not address.startswith("127.")]
    is_address = name.replace(".", "").isdigit()
    for address in (name,) if is_address else (*resolve(name), *resolved_there):
        if address in own:
            return address
    if len(own) == 1 and not is_address:
        return own[0]
    has = ", ".join(own) or "none but 127.*"
    raise InputError(
        f"none of its addresses ({has}) is that of {name}; name it by the one that other hosts reach it at"
    )


def resolve(name: str) -> list[str]:
    """The IPv4 addresses of a host; empty for a name that only ssh's configuration or Slurm knows."""
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for *_, address in found]
