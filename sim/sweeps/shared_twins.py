"""Traces in memory that many processes share as one copy, on every system."""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sim.sweeps.batches import Twins
from traces.output import writing

ALIGNED = 64
"""Arrays begin at multiples of so many bytes: a line of a processor's cache."""


class SharedTwins:
    """Traces whose arrays lie in a temporary file, until the `with` block ends. Processes that open it map the file,
    so that the system keeps it in memory once; what one of them writes into its arrays, no other sees.

    Its pickle holds the file's path and the places of the arrays. A file is used rather than shared memory, of which
    containers often have 64 MB only. Raises `InputError` where the file can't be written.
    """

    def __init__(self, twins: Twins) -> None:
        buffers: list[pickle.PickleBuffer] = []
        self._pickled = pickle.dumps(dict(twins), protocol=5, buffer_callback=buffers.append)
        self._spans: list[tuple[int, int, bool]] = []  # begin, end, and whether the array is read-only
        descriptor, name = tempfile.mkstemp(prefix="rudder-", suffix=".traces")
        self._path = Path(name)
        try:
            with writing(self._path), os.fdopen(descriptor, "wb") as file:
                file.write(bytes(ALIGNED))  # an empty file can't be mapped
                for buffer in buffers:
                    array = buffer.raw()
                    begin = file.tell()
                    file.write(array)
                    self._spans.append((begin, file.tell(), array.readonly))
                    file.write(bytes(-file.tell() % ALIGNED))
        except BaseException:
            self.remove()
            raise

    def open(self) -> Twins:
        """The traces, their arrays being views of the file."""
        with self._path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        views = (mapped[begin:end] for begin, end, _ in self._spans)
        # read-only as they were: kernels are compiled for both kinds, and forks of caches share read-only arrays
        buffers = [view.toreadonly() if span[2] else view for view, span in zip(views, self._spans, strict=True)]
        twins: Twins = pickle.loads(self._pickled, buffers=buffers)
        return twins

    def remove(self) -> None:
        """Remove the file; who has opened it keeps its content. Where it can't be removed, nothing happens."""
        with suppress(OSError):
            self._path.unlink()

    def __enter__(self) -> SharedTwins:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()
