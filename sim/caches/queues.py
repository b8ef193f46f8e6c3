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

from sim.kernel import kernel, part

SLOT, PLACE = 0, 1  # the first two fields of a row's record
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
def make_room(queue, most, rows, logs, ends):  # type: ignore[no-untyped-def]
    """See to it that so many entries, at most as many as the queue can have rows, and one more fit at the end."""
    if ends[queue, HEAD] + most >= logs.shape[1]:
        _squeeze(queue, rows, logs, ends)


@part
def touch_hits(queue, ids, start, stop, rows, logs, ends, hit_slots):  # type: ignore[no-untyped-def]
    """Move the hits of a group, all of this queue, to its end, for which there is room. Returns how many there are.

    Without a branch: which id is a hit can't be predicted, and a wrong guess costs more than all the rest.
    """
    first = head = ends[queue, HEAD]
    for i in range(start, stop):
        logs[queue, head] = ids[i]
        head += hit_slots[i] >= 0
    _note_places(queue, first, head, rows, logs)
    ends[queue, HEAD] = head
    return head - first


@part
def append_all(queue, ids, start, stop, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Put rows that are in no queue at the end of one, where there is room for them."""
    first = head = ends[queue, HEAD]
    for i in range(start, stop):
        logs[queue, head] = ids[i]
        head += 1
    _note_places(queue, first, head, rows, logs)
    ends[queue, HEAD] = head
    ends[queue, SIZE] += head - first


@part
def take_oldest(queue, out, start, stop, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Take the rows `out[start:stop]` from the tail of a queue that holds as many."""
    base, tail = queue * logs.shape[1], ends[queue, TAIL]
    ends[queue, SIZE] -= stop - start
    while start < stop:
        row = logs[queue, tail]
        out[start] = row
        start += rows[row, PLACE] == base + tail
        tail += 1
    ends[queue, TAIL] = tail


@part
def _note_places(queue, first, head, rows, logs):  # type: ignore[no-untyped-def]
    """Make the entries from `first` to `head` those that count for their rows."""
    base = queue * logs.shape[1]
    for place in range(first, head):
        rows[logs[queue, place], PLACE] = base + place


@part
def _squeeze(queue, rows, logs, ends):  # type: ignore[no-untyped-def]
    """Move the entries that count to the front of the log, in their order."""
    base, head = queue * logs.shape[1], 0
    for tail in range(ends[queue, TAIL], ends[queue, HEAD]):
        row = logs[queue, tail]
        logs[queue, head] = row
        head += rows[row, PLACE] == base + tail
    _note_places(queue, 0, head, rows, logs)
    ends[queue, TAIL], ends[queue, HEAD] = 0, head
