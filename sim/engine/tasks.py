"""Tasks: what a trainer's thread does for one minibatch, and when it did it. Both engines take and return these.

A task is a row of steps. A step is work, then a call with other work overlapped, then work again. All are in seconds.
"""

from __future__ import annotations

import numpy as np

MOST_STEPS = 4
"""A task has no more steps than these."""

STEP = np.dtype(
    [
        ("kind", np.int64),  # of the step's call: SAMPLE, LABEL, FETCH or REDUCE
        ("before_s", np.float64),  # work before the call
        ("overlapped_s", np.float64),  # work while the call is under way
        ("after_s", np.float64),  # work after its responses are in place
    ],
    align=True,
)
"""A step of a task, in seconds of a core of one's own. Tasks are arrays of these, of shape (tasks, steps)."""

SAMPLE, LABEL, FETCH, REDUCE = range(4)
"""Kinds of calls: for sampled edges, for labels of seeds, for features of input nodes; and the all-reduce, whose
`overlapped_s` is what it takes beside its bytes."""

TASK_TIMES = np.dtype(
    [
        ("requested_s", np.float64),  # the thread came to the task, and requested a token if it needs one
        ("began_s", np.float64),  # it had the token and began
        ("ended_s", np.float64, MOST_STEPS),  # the end of each step
        ("overlapped_s", np.float64, MOST_STEPS),  # how long the overlapped work of each step took
    ],
    align=True,
)
"""Of a task that has ended: simulated time in seconds. `overlapped_s` is a duration, all others are instants."""

NEVER, ON_REQUEST, ON_BEGIN, ON_END = range(4)
"""When a thread releases a token to the trainer's other thread: never, or for each of its tasks when it requests a
token itself, when it begins, or at the end."""

THREADS_PER_TRAINER = 3
PREPARE, TRAIN, AGENT = range(THREADS_PER_TRAINER)
"""The threads of a trainer. `PREPARE` and `TRAIN` belong to one interpreter. `PREPARE` alone asks owners for rows."""
