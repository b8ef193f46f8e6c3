"""Output files and folders: checked before the work begins, and written under a temporary name first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import InputError

if TYPE_CHECKING:
    import polars as pl


def file_to_write(path: Path | None) -> Path | None:
    """Callback of an option. Raises `InputError` for a file that can't be written, before the work it would lose."""
    if path is not None:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give the name of a file")
        _look_at(path.parent, path)
    return path


def folder_to_write(path: Path | None) -> Path | None:
    """Callback of an option. Raises `InputError` for a folder that can't be made or written to."""
    if path is not None:
        _look_at(path, path)
    return path


def _look_at(folder: Path, asked: Path) -> None:
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise InputError(f"{asked}: {there} is a file, not a folder; choose another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{asked}: nothing can be written to {there}; choose another place")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `InputError` for what can't be written in the block, as on a full disk: `path`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror or error})") from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary name to write a file under, and renames it to `path` when the block succeeds. Makes the folder
    if necessary.

    Raises `InputError` where that can't be done.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a parquet file, whole. Raises `InputError` where that can't be done."""
    with atomic_write(path) as partial:
        partial.write_bytes(parquet(table))


def parquet(table: pl.DataFrame) -> bytes:
    """A table as the bytes of a parquet file. (Polars, writing to a full disk itself, reports an invalid file
    instead.)"""
    table.write_parquet(content := BytesIO(), compression="zstd")
    return content.getvalue()
