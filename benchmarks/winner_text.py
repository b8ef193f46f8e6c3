"""What the page of `benchmarks.winner` says around its tables."""

from __future__ import annotations

import textwrap
from typing import Any

INTRODUCTION = """# The winner, live

{what}

{how}

Written on {when} by

<!-- not run: trains for half an hour, on a machine that does nothing else -->
```bash
{command}
```

![Predicted and measured epoch times]({picture})
"""

WHAT = """The simulator picks among {configurations} configurations; what it picks and its rivals then train for real,
and this page says how far the predictions were off. {graph}, {machines} machines (network namespaces of one host of
{cores} cores), links of {link}, batch {batch}, {model}, {repeats} live runs of {epochs} epochs each. Epoch times are
means of all epochs but the first; hits and fetched rows are the whole run's, with the rows that filled the buffer at
the start. Noise is the standard deviation of the epoch times of the live runs over their mean."""

HOW = """All predictions rest on two other live runs, the *captures*: one with `none`, one with `pipeline`. The cost
model of buffered policies is fitted on both; `none` is predicted from the capture of `pipeline` alone, and `pipeline`
from that of `none`, which is harder, and carries over to predicted speed-ups. Other seeds sample other minibatches,
so a prediction is not of the very minibatches that were trained."""

WAITS = """The highest rate of these at which features still take half of the epoch of `pipeline`: {highest}{here}.
Waiting for features does not show as a stall alone: the gradients of the all-reduce cross the same links and queue
behind the features of the next minibatch, so however slow the link, trainers stall for a small part of the step only,
and wait for each other and for gradients instead. So what counts is by how much the epoch is shorter when all features
are at hand (simulated: the same run with no rows to fetch), and it must be {share:.0%} or more. *Stall*: waiting for
the next minibatch; *idle*: that, waiting for the slowest trainer, and the all-reduce."""

WAITED = """Live at {link}, `pipeline` stalls for {stall:.0%} of its steps and is idle for {idle:.0%}. With a buffer
that keeps every row (`compulsory`, one run) the last epoch, in which few rows are new, takes {ahead_s:.2f} s: so
features take at least {share:.0%} of the {pipeline_s:.2f} s of `pipeline`."""

CHOICE = """{configurations} configurations: the caches, gates and universes in `benchmarks/winner_choice.py` with
buffers of {buffers} of each trainer's halo, and none. The fastest by mean epoch is the *winner*, of buffers up to 25%
(the largest of the published ones) and of those up to 50% (the largest that `sim.tune` tries by default). Its rivals
have its buffer size. *every:N* is periodic replacement on the score buffer at its best N of 1 (`always`), 2, 4, 8,
16, 32 and 64. The *public rule* is the published score buffer under the best of {published} settings that its code
ships (`benchmarks/published.py`): gates, alpha and period of the buffer, and what it holds at first. No language model
was asked as a gate: the one that can run here answers like a coin. All prepare one minibatch ahead. {changed}"""

OWN = """The minibatches that were really trained, simulated as [the proof](fidelity.md) does, with the cost models of
the tables above. Hits, replacements and fetched rows differ in {different} of {minibatches:,} minibatches."""


def paragraph(text: str, **values: Any) -> str:
    """A text with its values, folded."""
    return textwrap.fill(" ".join(text.format(**values).split()), 118, break_long_words=False, break_on_hyphens=False)
