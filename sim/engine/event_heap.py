"""Messages that are through the links and arrive later: a binary heap (Williams, Heapsort, 1964)."""

from __future__ import annotations

from sim.compiled import part
from sim.engine.layout import DUE, SENT


@part
def arrive_at(message, due_s, c):  # type: ignore[no-untyped-def]
    """Let a message arrive later. `due` is a binary heap: each is there no earlier than its parent."""
    at, order = int(c.clock[DUE]), int(c.clock[SENT])
    c.clock[DUE], c.clock[SENT] = at + 1, order + 1
    while at and c.due_at[(at - 1) // 2] > due_s:  # those that arrive together arrive as they were sent
        above = (at - 1) // 2
        c.due[at], c.due_at[at], c.due_order[at] = c.due[above], c.due_at[above], c.due_order[above]
        at = above
    c.due[at], c.due_at[at], c.due_order[at] = message, due_s, order


@part
def next_due(c):  # type: ignore[no-untyped-def]
    """Take out the message that arrives first."""
    first, last, at, below = c.due[0], int(c.clock[DUE]) - 1, 0, 1
    c.clock[DUE] = last
    while below < last:
        if below + 1 < last and earlier(below + 1, below, c):
            below += 1
        if earlier(last, below, c):
            break
        c.due[at], c.due_at[at], c.due_order[at] = c.due[below], c.due_at[below], c.due_order[below]
        at, below = below, 2 * below + 1
    c.due[at], c.due_at[at], c.due_order[at] = c.due[last], c.due_at[last], c.due_order[last]
    return first


@part
def earlier(one, other, c):  # type: ignore[no-untyped-def]
    """Whether the message at one place of the heap arrives before that at another."""
    return c.due_at[one] < c.due_at[other] or (
        c.due_at[one] == c.due_at[other] and c.due_order[one] < c.due_order[other]
    )
