"""Queues over rows in which any row can be moved or removed at once, without a linked list.

A queue is a log: to move a row to its end is to append it again. The row's record notes the place of its latest entry,
so an older one is known to be outdated and is skipped when the log is read from its tail. A log that has reached its
end is squeezed, in one step per entry appended since the last time.

`logs` (queues, length) holds the entries, `ends` (queues, 3) each queue's tail, head and number of rows, and
`rows[row, PLACE]` where in the flattened `logs` the row stands, or -1. A row is in one queue at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.compiled import kernel, part

PLACE = 2  # of a row's record, behind those of `sim.caches.demand`
TAIL, HEAD, SIZE = 0, 1, 2


def empty_queues(queues: int, most: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The `logs` and `ends` of so many queues of at most `most` rows each."""
    return np.zeros((queues, 4 * most + 64), np.int32), np.zeros((queues, 3), np.int64)


@kernel
def append(queue, row, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Put a row that is in no queue at the end of one."""
    ends[queue, SIZE] += 1
    touch(queue, row, rows, logs, ends)


@kernel
def touch(queue, row, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Move a row of the queue to its end."""
    length = logs.shape[1]
    if ends[queue, HEAD] == length:
        _squeeze(queue, rows, logs, ends)
    head = ends[queue, HEAD]
    logs[queue, head] = row
    rows[row, PLACE] = queue * length + head
    ends[queue, HEAD] = head + 1


@kernel
def remove(queue, row, rows, ends):  # type: ignore[no-untyped-def]
    """Take a row out of its queue."""
    rows[row, PLACE] = -1
    ends[queue, SIZE] -= 1


@part
def oldest(queue, rows, logs, ends):  # type: ignore[no-untyped-def]
    """The row at the tail of a queue that holds some."""
    base = queue * logs.shape[1]
    tail = ends[queue, TAIL]
    while rows[logs[queue, tail], PLACE] != base + tail:
        tail += 1
    ends[queue, TAIL] = tail
    return logs[queue, tail]


@part
def _squeeze(queue, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Move the entries that count to the front of the log, in their order."""
    base, head = queue * logs.shape[1], 0
    for tail in range(ends[queue, TAIL], ends[queue, HEAD]):
        row = logs[queue, tail]
        logs[queue, head] = row
        head += rows[row, PLACE] == base + tail
    for place in range(head):
        rows[logs[queue, place], PLACE] = base + place
    ends[queue, TAIL], ends[queue, HEAD] = 0, head
