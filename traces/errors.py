"""`InputError`, the exception for everything that the user can fix, and how a command reports it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InputError(Exception):
    """Input that can't be used: the message names the file, column or option, and says what to do."""


class Terminated(BaseException):
    """SIGTERM as an exception; it ends a run as Ctrl-C does. (A `KeyboardInterrupt` would make Typer report Ctrl-C.)"""


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Turn SIGTERM into `Terminated`, so that processes are ended and partial results are kept."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """Ignore Ctrl-C in the block, and for ever in processes started in it: the terminal sends it to all of them, and
    only the first should react."""
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
        if error.filename is None:  # not about a file, but a lost connection, for example
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except Terminated:
        print("terminated", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
