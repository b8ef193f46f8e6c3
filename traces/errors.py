"""The one exception that means "the user can mend this", and how a command reports it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Input that can't be used: the message names the file, column or option, and says what to do."""


class Terminated(BaseException):
    """SIGTERM: ends what Ctrl-C ends, and in the same way. (Typer would take a `KeyboardInterrupt` for Ctrl-C.)"""


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Turn SIGTERM into `Terminated`, so that what is running is ended and what was kept so far is not lost."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C, in processes that are started meanwhile for ever: it reaches all of them, and one answers."""
    if threading.current_thread() is not threading.main_thread():  # which alone may change what signals do
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_command(command: Callable[[], object]) -> None:
    """Run a command line: an `InputError`, or a file that can't be read or written, becomes one line on stderr and exit
    code 2, Ctrl-C exit code 130, SIGTERM where it is caught (`sigterm_as_exception`) exit code 143."""
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.filename is None:  # no file's fault: a lost connection, say
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
