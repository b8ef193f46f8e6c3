"""Reaching hosts by ssh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

CONNECT_S = 10
SILENCE_S = 60
"""A connection is given up after so many seconds of silence; shorter interruptions do no harm."""


def ssh_command(ssh: Sequence[str], host: str, command: Sequence[str]) -> list[str]:
    """The command that runs `command` on `host` without asking questions. The user's options come first, as ssh prefers
    the first of several values."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": CONNECT_S,
        "ServerAliveInterval": 10,
        "ServerAliveCountMax": SILENCE_S // 10,
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    # ssh joins words with spaces and leaves them to the shell there
    return [*ssh, *given, "-T", "--", host, f"exec {shlex.join(command)}"]
