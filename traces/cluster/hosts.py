"""Files that name the hosts of a real cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from traces.cluster.environment import PORT
from traces.errors import InputError

NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)
"""An IPv4 address or a host name, without characters that a shell or ssh would interpret."""


@dataclass(frozen=True)
class HostLine:
    """One host by address or name, and the port of its first DGL server."""

    name: str
    port: int = PORT


def read_hosts(path: Path) -> tuple[HostLine, ...]:
    """Read hosts in DGL's ip_config format: a line has an address or name and perhaps a port; `#` starts a comment.

    Host i gets partition i. Raises `InputError` with the line that can't be used.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: can't be read as a list of hosts ({error})") from None
    hosts: dict[str, HostLine] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}, line {number}"
        if len(words) > 2:
            raise InputError(f"{where}: {line.strip()!r} has more than an address and a port")
        name, port = words[0], words[1] if len(words) == 2 else str(PORT)
        if not NAME.fullmatch(name):
            raise InputError(f"{where}: {name!r} is neither an IPv4 address nor a host's name")
        if not (port.isascii() and port.isdigit() and 1024 <= int(port) <= 65535):
            raise InputError(f"{where}: port {port!r} must be a number from 1024 to 65535")
        if name in hosts:
            raise InputError(
                f"{where}: {name} is there twice; DGL tells machines apart by address. For several machines on this "
                "host, each with an address of its own, use --local NUMBER instead of --hosts"
            )
        hosts[name] = HostLine(name, int(port))
    if not hosts:
        raise InputError(f"{path}: names no host; write an address or a name a line")
    return tuple(hosts.values())
