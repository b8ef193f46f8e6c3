"""Reaching hosts by ssh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

CONNECT_S = 10
SILENCE_S = 60
"""A connection is given up after as many seconds without a sign of life; a shorter break does no harm."""


def ssh_command(ssh: Sequence[str], host: str, command: Sequence[str]) -> list[str]:
    """`command` on `host`, with the user's own options (first, so that they win), and never a question asked."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": CONNECT_S,
        "ServerAliveInterval": 10,
        "ServerAliveCountMax": SILENCE_S // 10,
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    # ssh joins words with spaces and leaves them to the shell there
    return [*ssh, *given, "-T", "--", host, f"exec {shlex.join(command)}"]
