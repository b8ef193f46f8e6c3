"""The score buffer of MassiveGNN and Rudder, with the faults of the published code mended.

Every held row has a score: its accesses so far, times (1 - alpha) for each minibatch since it was last hit; a hit
restores it. A row is stale when its score is below (1 - alpha)^period: a row that was asked for once goes stale after
`period` minibatches without a hit, one that was asked for often later.

When that will be is known at the hit, so a score is never decayed. A hit notes the minibatch and the count, nothing
else. Each held row waits in the bin of a minibatch in which it may go stale; when that comes, the row is stale, or it
was hit meanwhile and moves on to a later bin: one move for many hits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.cache import Setup, constant
from sim.caches.demand import Ids
from sim.caches.kernel import kernel
from sim.caches.managed import COUNT, LAST, NEVER, SEEN, SLOT, Managed, sort_keys
from traces.errors import InputError

BIN = 3  # of a held row: the minibatch whose bin it is in or, of a stale one, was in last; three fields precede it
OUTSIDE = 2**31 - 1  # BIN of a row that is not held
STALE = 2  # number of stale rows, in `state`


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
        into_bins(self.held[: self.occupied_rows], -1, self.life, self.rows, self.first, self.link)

    def _serve(self, ids: Ids, hit_slots: Ids) -> int:
        if self.now + 2 > len(self.life):
            # No row has more accesses than there were minibatches.
            self.life = constant(lives(self.alpha, self.period, 2 * len(self.life)))
            later = np.full(len(self.life) + int(self.life[-1]) - len(self.first), -1, np.int32)
            self.first = np.concatenate((self.first, later))
        return serve_score(ids, self.now, self.life, self.rows, self.seen, self.first, self.link, self.state, hit_slots)

    def _victims(self, worth: NDArray[np.int32]) -> Ids:
        stale = self.held[self.held >= 0]
        stale = stale[self.rows[stale, BIN] <= self.now]
        keys = sort_keys(stale, self.rows, self.rows[:, BIN], self.rank, False, self.now)
        return self.rows_of(np.sort(keys))

    def _replace(self, decision: Decision) -> tuple[Ids, Ids, Ids]:
        inserted, slots, evicted = super()._replace(decision)
        self.state[STALE] -= len(evicted)
        self.rows[evicted, BIN] = OUTSIDE
        into_bins(inserted, self.now, self.life, self.rows, self.first, self.link)
        return inserted, slots, evicted

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
def serve_score(ids, now, life, rows, seen, first, link, state, hit_slots):  # type: ignore[no-untyped-def]
    hits, stale, listed = 0, state[STALE], state[SEEN]
    for i in range(len(ids)):
        row = ids[i]
        hit_slots[i] = rows[row, SLOT]
        hits += rows[row, SLOT] >= 0
        seen[listed] = row
        listed += rows[row, LAST] == NEVER
        rows[row, COUNT] += 1
        rows[row, LAST] = now
        if rows[row, BIN] < now:
            stale -= 1
            into_bin(row, now + life[rows[row, COUNT]], rows, first, link)
    row = first[now]
    while row >= 0:
        after = link[row]
        due = rows[row, LAST] + life[rows[row, COUNT]]
        if due > now:
            into_bin(row, due, rows, first, link)
        else:
            stale += 1
        row = after
    state[STALE], state[SEEN] = stale, listed
    return hits


@kernel
def into_bin(row, minibatch, rows, first, link):  # type: ignore[no-untyped-def]
    rows[row, BIN] = minibatch
    link[row] = first[minibatch]
    first[minibatch] = row


@kernel
def into_bins(listed, now, life, rows, first, link):  # type: ignore[no-untyped-def]
    """Give rows their full score at the end of minibatch `now`."""
    for row in listed:
        into_bin(row, now + life[rows[row, COUNT]], rows, first, link)
