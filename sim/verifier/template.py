"""The process that candidates' processes are forked from: it has imported what they may import, and runs none of them.

Started by `sim.verifier.process` as `python -m sim.verifier.template`, with a socket as its stdin. It has one thread,
so that a fork of it is whole, and is gone when the socket's other end is.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from importlib import import_module

from sim.verifier.child import IMPORTS, run
from sim.verifier.confinement import Limits

LONGEST_REQUEST = 1 << 16
INPUT, REPLIES, PRINTED = range(3)
"""The pipes and the file that a request brings along, and their numbers in the process that is forked."""


def main() -> None:
    """Fork where `{"file": ..., "limits": ...}` asks for it, which is answered with a process id; kill the process of
    `{"end": process id}`, which is answered with its exit code: what it was, if it had ended before."""
    for name in IMPORTS:
        import_module(name)
    control = socket.socket(fileno=0)
    while message := socket.recv_fds(control, LONGEST_REQUEST, 3):
        text, fds = message[:2]
        if not text:
            return
        request = json.loads(text)
        if "end" in request:
            os.kill(request["end"], signal.SIGKILL)
            answer = os.waitstatus_to_exitcode(os.waitpid(request["end"], 0)[1])
        elif (answer := os.fork()) == 0:
            control.detach()
            for to in (INPUT, REPLIES, PRINTED):
                os.dup2(fds[to], to)
            os.closerange(PRINTED + 1, max(fds) + 1)
            run(request["file"], Limits(**request["limits"]))
            os._exit(0)
        for fd in fds:
            os.close(fd)
        control.send(str(answer).encode())


if __name__ == "__main__":
    main()
