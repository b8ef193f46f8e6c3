"""Files that a spec string names: plain files of this machine, of a size that fits, and nothing else."""

from __future__ import annotations

from pathlib import Path

from traces.errors import InputError

LARGEST_BYTES = 256 * 2**20


def read_file(spec: str, path: str) -> bytes:
    """The file's content. Raises `InputError`, with the spec's name in front, for what is not a plain file or too
    large.

    Only plain files are read: where a path is expected, many libraries also accept a URL, a pattern or a device.
    """
    try:
        if not Path(path).is_file():
            raise InputError(f"{spec}:{path}: there is no such file")
        if Path(path).stat().st_size > LARGEST_BYTES:
            raise InputError(f"{spec}:{path}: the file is too large")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{spec}:{path}: {getattr(error, 'strerror', None) or error}") from None
