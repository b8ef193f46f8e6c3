"""Files that a spec string names: plain files of this machine, of a size that fits, and nothing else."""

from __future__ import annotations

from pathlib import Path

from traces.errors import InputError

LARGEST_BYTES = 256 * 2**20


def read_file(spec: str, path: str) -> bytes:
    """The file's content. Raises `InputError`, which begins with the spec's name, for what is no file or too large.

    Libraries that take a path may take an address, a pattern or a device too; what is read here can be neither.
    """
    try:
        if not Path(path).is_file():
            raise InputError(f"{spec}:{path}: there is no such file")
        if Path(path).stat().st_size > LARGEST_BYTES:
            raise InputError(f"{spec}:{path}: the file is too large")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{spec}:{path}: {getattr(error, 'strerror', None) or error}") from None
