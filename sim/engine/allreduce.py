"""How trainers sum up their gradients: a ring, in which each passes part after part on to the next one.

A trainer adds what comes from the one before it to its own part, and passes that on (Patarasuk and Yuan, Bandwidth
Optimal All-reduce Algorithms, 2009). So one that waits for a core holds up those after it, one after another, and not
all of them at once. A part is sent when the next trainer has said that it is ready for it, as Gloo does; that message,
too, waits in queues. Compiled, as all that `sim.engine.threads` needs.
"""

from __future__ import annotations

from sim.compiled import part
from sim.engine.cores import start_job
from sim.engine.event_heap import arrive_at
from sim.engine.layout import (
    AT,
    BESIDE_S,
    EXPECTED_AT,
    GRADIENT,
    GRADIENT_BYTES,
    HOPS,
    HOST,
    JOINED,
    LEG,
    PENDING,
    PUTTING,
    ROUND_S,
    ROUNDS,
    ROWS,
    STAGE,
    STEP,
    TRAINERS,
)
from sim.engine.links import send, standing_s
from sim.engine.tasks import THREADS_PER_TRAINER, TRAIN


@part
def join(thread, now, c):  # type: ignore[no-untyped-def]
    """A trainer's gradients are ready; the last one's let the all-reduce begin."""
    trainers = int(c.fixed[TRAINERS])
    c.clock[JOINED] += 1
    expect(thread // THREADS_PER_TRAINER, now, c)
    if c.clock[JOINED] < trainers:
        return
    at, step = int(c.threads[thread, AT]), int(c.threads[thread, STEP])
    c.clock[JOINED], c.clock[ROUND_S] = 0.0, c.programs[thread, at, step, BESIDE_S] / c.fixed[ROUNDS]
    for trainer in range(trainers):
        c.threads[trainer * THREADS_PER_TRAINER + TRAIN, PENDING] = c.fixed[ROUNDS]
        c.messages[message_of(trainer, c), ROWS] = c.fixed[ROUNDS]
    for trainer in range(trainers):
        pass_on(trainer, now, c)


@part
def message_of(trainer, c):  # type: ignore[no-untyped-def]
    """The message in which a trainer passes gradients on."""
    return int(c.fixed[TRAINERS]) * c.queues.shape[0] + trainer


@part
def expect(trainer, now, c):  # type: ignore[no-untyped-def]
    """Let a trainer tell the one before it that it is ready for the next part."""
    trainers = int(c.fixed[TRAINERS])
    before = (trainer + trainers - 1) % trainers
    own = int(c.threads[trainer * THREADS_PER_TRAINER, HOST])
    theirs = int(c.threads[before * THREADS_PER_TRAINER, HOST])
    c.messages[message_of(before, c), EXPECTED_AT] = now + c.latency_s[own, theirs] + standing_s(own, theirs, now, c)


@part
def pass_on(trainer, now, c):  # type: ignore[no-untyped-def]
    """Let a trainer send its next part, if it has added up what that takes and its last part has been added, too."""
    trainers, message = int(c.fixed[TRAINERS]), message_of(trainer, c)
    own, theirs = trainer * THREADS_PER_TRAINER + TRAIN, (trainer + 1) % trainers * THREADS_PER_TRAINER + TRAIN
    left = c.messages[message, ROWS]
    if not left or c.threads[own, PENDING] > left or c.threads[theirs, PENDING] > left:
        return
    c.messages[message, LEG], c.messages[message, ROWS] = GRADIENT, left - 1.0
    source, target = int(c.threads[own, HOST]), int(c.threads[theirs, HOST])
    if source == target:
        arrive_at(message, now, c)
    else:
        waits_s = max(c.messages[message, EXPECTED_AT] - now, 0.0)
        send(message, source, target, c.fixed[GRADIENT_BYTES], 0.0, waits_s, c.fixed[HOPS], 0.0, now, c)


@part
def add(message, now, c):  # type: ignore[no-untyped-def]
    """Let a trainer add a part that has come. Returns its thread, if that goes on at once, or -1."""
    trainers = int(c.fixed[TRAINERS])
    thread = (message - message_of(0, c) + 1) % trainers * THREADS_PER_TRAINER + TRAIN
    c.threads[thread, STAGE] = PUTTING
    if c.clock[ROUND_S] == 0.0:
        return thread
    start_job(thread, c.clock[ROUND_S], now, c)
    return -1


@part
def added(thread, now, c):  # type: ignore[no-untyped-def]
    """A trainer has added a part: it may send the next one, and so may the one before it."""
    trainers, trainer = int(c.fixed[TRAINERS]), thread // THREADS_PER_TRAINER
    c.threads[thread, PENDING] -= 1.0
    if c.threads[thread, PENDING]:
        expect(trainer, now, c)
    pass_on(trainer, now, c)
    if trainers > 1:
        pass_on((trainer + trainers - 1) % trainers, now, c)
