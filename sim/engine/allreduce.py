"""The all-reduce of gradients: a ring, in which each trainer passes one part after another on to the next.

A trainer adds what comes from the one before it to its own part, and passes that on (Patarasuk and Yuan, Bandwidth
Optimal All-reduce Algorithms, 2009). So a trainer that waits for a core holds up those after it, one after another, and
not all of them at once. A part is sent when the next trainer has said that it is ready for it, as Gloo does; that
message, too, waits in queues.
"""

from __future__ import annotations

from sim.compiled import part
from sim.engine.links import post, queueing_s
from sim.engine.tasks import THREADS_PER_TRAINER, TRAIN


@part
def join_ring(trainer, overlapped_s, now, ring, links):  # type: ignore[no-untyped-def]
    """A trainer's gradients are ready. When the last trainer's are, the all-reduce begins; besides its transmission it
    takes `overlapped_s` of each trainer's work."""
    this_round = ring.round[0]
    this_round.joined += 1
    announce_ready(trainer, now, ring, links)
    if this_round.joined < ring.parts.shape[0]:
        return
    this_round.joined, this_round.add_s = 0, overlapped_s / ring.rounds
    for other in range(ring.parts.shape[0]):
        ring.parts[other].to_add = ring.parts[other].to_send = ring.rounds
    for other in range(ring.parts.shape[0]):
        send_part(other, now, ring, links)


@part
def announce_ready(trainer, now, ring, links):  # type: ignore[no-untyped-def]
    """Let a trainer tell the one before it that it is ready for the next part."""
    trainers = ring.parts.shape[0]
    before = ring.parts[(trainer + trainers - 1) % trainers]
    own, theirs = ring.parts[trainer].host, before.host
    before.expected_s = now + links.latency_s[own, theirs] + queueing_s(own, theirs, now, links)


@part
def send_part(trainer, now, ring, links):  # type: ignore[no-untyped-def]
    """Let a trainer send its next part, if it has added the part that this needs, and its last part has been added by
    the next trainer."""
    part, following = ring.parts[trainer], ring.parts[(trainer + 1) % ring.parts.shape[0]]
    left = part.to_send
    if not left or part.to_add > left or following.to_add > left:
        return
    part.to_send = left - 1
    message, size, waits_s = ring.first_message + trainer, ring.round_bytes, max(part.expected_s - now, 0.0)
    if part.host == following.host:
        size, waits_s = 0.0, 0.0  # through memory
    post(message, part.host, following.host, size, 0.0, waits_s, ring.rounds_per_modelled_round, 0.0, links)


@part
def on_part_added(trainer, now, ring, links):  # type: ignore[no-untyped-def]
    """A trainer has added a part: it may send the next one, and so may the one before it."""
    trainers, part = ring.parts.shape[0], ring.parts[trainer]
    part.to_add -= 1
    if part.to_add:
        announce_ready(trainer, now, ring, links)
    send_part(trainer, now, ring, links)
    if trainers > 1:
        send_part((trainer + trainers - 1) % trainers, now, ring, links)


@part
def receiver_of(sender, ring):  # type: ignore[no-untyped-def]
    """The thread that adds a part from `sender`: that of the next trainer."""
    return (sender + 1) % ring.parts.shape[0] * THREADS_PER_TRAINER + TRAIN
