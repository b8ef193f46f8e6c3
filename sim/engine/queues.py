"""Queues of threads that go on at this instant. The first queue that is not empty comes first."""

from __future__ import annotations

from sim.compiled import part

NONE = -1
"""No queue has a thread."""


@part
def first_queue(threads):  # type: ignore[no-untyped-def]
    """The first queue in which there is a thread, or `NONE`."""
    if threads.queued[0] == 0:
        return NONE
    which = 0
    while threads.queues[which].threads == 0:
        which += 1
    return which


@part
def enqueue(which, number, threads):  # type: ignore[no-untyped-def]
    """Put a thread at the end of a queue."""
    queue, waiting = threads.queues[which], threads.waiting[which]
    at = queue.first + queue.threads
    waiting[at if at < waiting.shape[0] else at - waiting.shape[0]] = number
    queue.threads += 1
    threads.queued[0] += 1


@part
def dequeue(which, threads):  # type: ignore[no-untyped-def]
    """Take the first thread out of a queue."""
    queue, waiting = threads.queues[which], threads.waiting[which]
    number = waiting[queue.first]
    queue.first = queue.first + 1 if queue.first + 1 < waiting.shape[0] else 0
    queue.threads -= 1
    threads.queued[0] -= 1
    return number
