"""The score buffer of MassiveGNN and Rudder, with the faults of the published code mended.

Every held row has a score: its accesses so far, times (1 - alpha) for each minibatch since it was last hit; a hit
restores it. A row is stale when its score is below (1 - alpha)^period: a row that was asked for once goes stale after
`period` minibatches without a hit, one that was asked for often later.

When that will be is known at the hit, so a score is never decayed. A hit notes the minibatch and the count, nothing
else. Each held row waits in the bin of a minibatch in which it may go stale; when that comes, the row is stale, or it
was hit meanwhile and moves on to a later bin: one move for many hits.

Stale rows are in rings (`sim.caches.rings`), one for each count of accesses, in the order in which they are to go. So
the row that a candidate replaces is the first of all rings of fewer accesses. Those that went stale since the last
replacement wait in a ring of their own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.blocks import BELOW, LAST, NEVER, SLOT, WORTH, key, raise_ceilings
from sim.caches.cache import Setup, constant
from sim.caches.demand import Ids
from sim.caches.managed import SEEN, Keys, Managed
from sim.caches.rings import AFTER, alone, link_last, more_rings, unlink
from sim.compiled import kernel, part
from traces.errors import InputError

BIN = 3  # of a held row: the minibatch whose bin it is in or, of a stale one, was in last; three fields precede it
OUTSIDE = 2**31 - 1  # BIN of a row that is not held
STALE = 2  # number of stale rows, in `state`
NONE = 2**62  # a sort key above all others


class Score(Managed):
    """Replaces stale rows by more frequently used ones.

    Unlike the published code it counts misses in every minibatch, fills free slots first, evicts the lowest score
    first (in whole decay steps; ties: lower degree first) and not in id order, replaces a row only by one that
    outranks it, does not round the threshold, and does not fetch a row again that was missed in the same minibatch.
    """

    summary = "managed: rows lose score while not hit; stale ones make room for more frequent ones"
    source = "MassiveGNN, CLUSTER 2024, and Rudder, ICS 2026 (arXiv 2602.23556), mended"

    def __init__(self, alpha: float = 0.05, period: int = 32, *, setup: Setup) -> None:
        """Raises `InputError` where alpha is not in (0, 1) or the period is below 1."""
        check_score_options(alpha, period)
        super().__init__(4, setup)
        self.alpha, self.period = alpha, period
        self.life = constant(lives(alpha, period, 64))
        self.rows[:, BIN] = OUTSIDE
        self.first = np.full(64 + int(self.life[-1]), -1, np.int32)  # a row in each bin, or -1
        self.link = np.empty(setup.universe.rows, np.int32)  # the next row in its bin, or -1
        # Nodes are slots; behind them come the ring of the newly stale and those of 0, 1, 2, ... accesses.
        self.links = more_rings(alone(self.capacity_rows), 1 + len(self.life))
        into_bins(self.held[: self.occupied_rows], -1, self.life, self.rows, self.first, self.link)

    def _serve(self, ids: Ids, hit_slots: Ids, missed_ids: Ids) -> int:
        if self.now + 2 > len(self.life):
            # No row has more accesses than there were minibatches.
            self.life = constant(lives(self.alpha, self.period, 2 * len(self.life)))
            later = np.full(len(self.life) + int(self.life[-1]) - len(self.first), -1, np.int32)
            self.first = np.concatenate((self.first, later))
            self.links = more_rings(self.links, len(self.life) // 2)
        return serve_score(
            ids, self.now, self.life, self.rows, self.capacity_rows, self.ceilings, self.first, self.link, self.links,
            self.state, hit_slots, missed_ids,
        )  # fmt: skip

    def _replace(self, decision: Decision) -> tuple[Ids, Ids, int]:
        keys = np.empty(self.stale_rows, np.int64)
        keys = keys[: newly_stale(self.held, self.rows, self.rank, self.links, keys)]
        into_rings(self.rows_of(np.sort(keys)), self.rows, self.capacity_rows, self.links)
        return super()._replace(decision)

    def _least(self) -> int:
        return int(least_accesses(self.capacity_rows, self.links)) << 32 | BELOW

    def _victims(self, worth: Keys) -> Ids:
        victims, heads = np.empty(len(worth), np.int32), np.empty((len(self.life), 2), np.int64)
        return victims[: first_to_go(worth, self.held, self.rows, self.rank, self.links, heads, victims)]

    def _all_victims(self, worth: Ids) -> Ids:
        return self.rows_of(np.sort(self.keys(self.rows[:, BIN] <= self.now, self.rows[:, BIN])))

    def _exchanged(self, inserted: Ids, evicted: Ids) -> None:
        self.state[STALE] -= len(evicted)
        self.rows[evicted, BIN] = OUTSIDE
        out_of_rings(inserted, self.rows, self.links)
        into_bins(inserted, self.now, self.life, self.rows, self.first, self.link)

    @property
    def stale_rows(self) -> int:
        """Held rows whose score is below the threshold."""
        return int(self.state[STALE])


def check_score_options(alpha: float, period: int) -> None:
    """Raises `InputError` where alpha is not in (0, 1) or the period is below 1."""
    if not 0 < alpha < 1:
        raise InputError(f"alpha={alpha} is the share of its score that an idle row loses: it must be in (0, 1)")
    if period < 1:
        raise InputError(f"period={period} counts minibatches: it must be at least 1")


def lives(alpha: float, period: int, counts: int) -> NDArray[np.int32]:
    """After how many idle minibatches a row with 0, 1, 2, ... accesses is stale: shape (counts,).

    The first whole number above period + log(count) / -log(1 - alpha); a row that was never asked for counts as one
    that was once, so that what the buffer holds at first has time to prove itself.
    """
    steps = -math.log1p(-alpha)
    return np.array([period + int(math.log(max(count, 1)) / steps) + 1 for count in range(counts)], np.int32)


@kernel
def serve_score(ids, now, life, rows, newly, ceilings, first, link, links, state, hit_slots, missed_ids):  # type: ignore[no-untyped-def]
    missed, stale, seen = 0, state[STALE], state[SEEN]
    for i in range(len(ids)):
        row = ids[i]
        slot = rows[row, SLOT]
        hit_slots[i] = slot
        seen += rows[row, LAST] == NEVER
        rows[row, WORTH] += 1
        rows[row, LAST] = now
        missed_ids[missed] = row
        missed += slot < 0
        if rows[row, BIN] < now:
            stale -= 1
            unlink(slot, links)
            into_bin(row, now + life[rows[row, WORTH]], rows, first, link)
    raise_ceilings(missed_ids, missed, rows, ceilings)
    row = first[now]
    while row >= 0:
        after = link[row]
        due = rows[row, LAST] + life[rows[row, WORTH]]
        if due > now:
            into_bin(row, due, rows, first, link)
        else:
            stale += 1
            link_last(rows[row, SLOT], newly, links)
        row = after
    state[STALE], state[SEEN] = stale, seen
    return len(ids) - missed


@kernel
def newly_stale(held, rows, rank, links, keys):  # type: ignore[no-untyped-def]
    """Write the sort keys, by bin, of the rows that went stale since the last time. Returns how many there are."""
    count, newly = 0, len(held)
    slot = links[newly, AFTER]
    while slot != newly:
        keys[count] = key(rows[held[slot], BIN], rank[held[slot]])
        count += 1
        slot = links[slot, AFTER]
    return count


@kernel
def into_rings(listed, rows, newly, links):  # type: ignore[no-untyped-def]
    """Move newly stale rows, in the order in which they are to go, to the ends of the rings of their accesses."""
    for i in range(len(listed)):
        slot = rows[listed[i], SLOT]
        unlink(slot, links)
        link_last(slot, newly + 1 + rows[listed[i], WORTH], links)


@kernel
def out_of_rings(listed, rows, links):  # type: ignore[no-untyped-def]
    for i in range(len(listed)):
        unlink(rows[listed[i], SLOT], links)


@kernel
def least_accesses(newly, links):  # type: ignore[no-untyped-def]
    """The fewest accesses of a stale row, or more than any row has."""
    ring = newly + 1
    while ring < len(links) and links[ring, AFTER] == ring:
        ring += 1
    return ring - newly - 1


@kernel
def first_to_go(worth, held, rows, rank, links, heads, victims):  # type: ignore[no-untyped-def]
    """Find a stale row for each candidate of that worth, in descending order: of those with fewer accesses the first to
    go that is not taken. Returns how many there are.

    `heads` (accesses, 2) has room for the sort key by bin and the slot of the first row not taken in each ring.
    """
    if len(worth) == 0:
        return 0
    known, rings = min(worth[0], len(heads)), len(held) + 1
    for accesses in range(known):
        to_next(accesses, links[rings + accesses, AFTER], held, rows, rank, heads)
    for i in range(len(worth)):
        best, first = -1, NONE
        for accesses in range(min(worth[i], known)):
            if heads[accesses, 0] < first:
                best, first = accesses, heads[accesses, 0]
        if best < 0:
            return i
        slot = heads[best, 1]
        victims[i] = held[slot]
        to_next(best, links[slot, AFTER], held, rows, rank, heads)
    return len(worth)


@part
def to_next(accesses, slot, held, rows, rank, heads):  # type: ignore[no-untyped-def]
    """Make the row of a slot the first in its ring; where that is no slot, the ring is at its end."""
    heads[accesses, 0] = key(rows[held[slot], BIN], rank[held[slot]]) if slot < len(held) else NONE
    heads[accesses, 1] = slot


@part
def into_bin(row, minibatch, rows, first, link):  # type: ignore[no-untyped-def]
    rows[row, BIN] = minibatch
    link[row] = first[minibatch]
    first[minibatch] = row


@kernel
def into_bins(listed, now, life, rows, first, link):  # type: ignore[no-untyped-def]
    """Give rows their full score at the end of minibatch `now`."""
    for i in range(len(listed)):
        row = listed[i]
        into_bin(row, now + life[rows[row, WORTH]], rows, first, link)
