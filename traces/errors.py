"""The one exception that means "the user can mend this", and how a command reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable


class InputError(Exception):
    """Input that can't be used: the message names the file, column or option, and says what to do."""


def run_command(command: Callable[[], object]) -> None:
    """Run a command line: an `InputError` becomes one line on stderr and exit code 2, Ctrl-C exit code 130."""
    try:
        command()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
