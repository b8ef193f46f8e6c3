"""Events in the future, as a binary heap (Williams, Heapsort, 1964).

Events of one instant come out in the order in which they were scheduled. An event is the arrival of a message, or the
time slice of a thread that waits for a core.
"""

from __future__ import annotations

from sim.compiled import part


@part
def schedule(number, at_s, events):  # type: ignore[no-untyped-def]
    """Add an event at `at_s`. No event of the heap is earlier than its parent."""
    heap, entries = events.heap[0], events.events
    at, order = heap.events, heap.scheduled
    heap.events, heap.scheduled = at + 1, order + 1
    while at and entries[(at - 1) // 2].at_s > at_s:
        entries[at] = entries[(at - 1) // 2]
        at = (at - 1) // 2
    entries[at].number, entries[at].at_s, entries[at].order = number, at_s, order


@part
def pop_event(events):  # type: ignore[no-untyped-def]
    """Take out the first event. Returns its number."""
    entries, last, at, below = events.events, events.heap[0].events - 1, 0, 1
    number, events.heap[0].events = entries[0].number, last
    while below < last:
        if below + 1 < last and precedes(entries[below + 1], entries[below]):
            below += 1
        if precedes(entries[last], entries[below]):
            break
        entries[at] = entries[below]
        at, below = below, 2 * below + 1
    entries[at] = entries[last]
    return number


@part
def precedes(one, other):  # type: ignore[no-untyped-def]
    """Whether one event comes before another."""
    return one.at_s < other.at_s or (one.at_s == other.at_s and one.order < other.order)
