"""The score buffer as the published code of Rudder and MassiveGNN has it, faults included."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.blocks import BELOW
from sim.caches.cache import Access, Cache, Setup, initial_ids
from sim.caches.demand import Ids
from sim.caches.score import check_score_options
from sim.compiled import kernel

HELD = -1.0  # the misses of a row that the buffer holds
FAR = 1 << 30  # a minibatch that never comes: of rows that don't go stale
OCCUPIED, STALE, CANDIDATES = 0, 1, 2  # the numbers in `state`
_NONE = np.empty(0, np.int32)


class PublicScore(Cache):
    """Evicts stale rows in the order of their ids for the rows with the most misses, and never compares the two.

    A slot's score is 1 at first, decays by (1 - alpha) in every minibatch that doesn't hit it, and stays on a hit. It
    is stale below round((1 - alpha)^period, 3). Of the published code's faults this keeps:

    - an empty slot has a score and an id above all others: it is filled only when it is stale, and as the last;
    - victims go in ascending order of their ids, whatever their scores, and for candidates of whatever worth;
    - the threshold is rounded to three digits, so with a long period nothing ever goes stale;
    - misses never fade, and are not counted in a minibatch that replaces rows;
    - a row that comes in has its misses as score, one that goes has its score as misses;
    - a row that was missed and comes in in the same minibatch is fetched twice, live too: `replacement_rows` counts all
      that come in.

    That it counts and caches halo nodes only is a matter of the universe: give it `halo`. The published code knows yes
    and no, so of a decision only `replace` is used, not `share` or `ranking`. Where its order is left to an unstable
    sort, rows with as many misses come in by ascending id. It computes scores in float32, step by step; here they are
    float64 and computed when they are needed, as a row's score is known from how often it was idle.
    """

    summary = "managed: the score buffer of the published code, bug for bug"
    source = "Rudder, ICS 2026 (arXiv 2602.23556), and MassiveGNN, CLUSTER 2024: their public code"
    managed = True

    def __init__(self, alpha: float = 0.05, period: int = 32, *, setup: Setup) -> None:
        """Raises `InputError` where alpha is not in (0, 1) or the period is below 1."""
        check_score_options(alpha, period)
        super().__init__(setup)
        self.decay = 1 - alpha
        self.threshold = round(self.decay**period, 3)
        initial = initial_ids(setup)
        self.held = np.full(self.capacity_rows, -1, np.int32)
        self.held[: len(initial)] = initial
        self.slot_of = np.full(setup.universe.rows, -1, np.int32)
        self.slot_of[initial] = np.arange(len(initial), dtype=np.int32)
        self.misses = np.zeros(setup.universe.rows)
        self.misses[initial] = HELD
        self.full_score = np.ones(self.capacity_rows)  # before any decay
        self.lasts = self._steps_to_stale(self.full_score)  # idle minibatches until it is stale
        self.stale_at = self.lasts.copy()  # the number of look-ups after which it is, if there are no more hits
        self.expiring = np.zeros(64, np.int64)  # how many slots go stale after so many look-ups
        self.state = np.array([len(initial), 0, 0], np.int64)
        self.served = 0
        self.latest = 0  # no slot goes stale later, but for those that never do
        self._schedule(np.arange(self.capacity_rows))

    def access(self, ids: Ids, decision: Decision | None = None) -> Access:
        """Serve one minibatch; see `Cache.access`."""
        self.served += 1
        self.latest += 1
        if self.latest >= len(self.expiring):
            self.expiring = np.concatenate((self.expiring, np.zeros(self.latest, np.int64)))
        hit_slots = np.empty(len(ids), np.int32)
        hits = serve_hits(ids, self.served, self.slot_of, self.stale_at, self.expiring, self.state, hit_slots)
        slots, inserted = self._exchanged() if decision is not None and decision.replace else (_NONE, _NONE)
        if len(slots):
            self._put(inserted, slots)
        else:
            count_misses(ids, hit_slots, self.misses, self.state)
        return Access(hit_slots, hits, inserted, slots, len(inserted))

    def _exchanged(self) -> tuple[Ids, Ids]:
        """The slots to use and the rows to put in: O(capacity + universe)."""
        # Numbers are sorted, not indices, which takes a tenth of the time: each key ends with what tells equals apart.
        stale = np.flatnonzero(self.stale_at <= self.served)
        held = self.held[stale].astype(np.int64)
        by_id = (np.where(held < 0, np.iinfo(np.int32).max, held) << 32) | stale  # empty slots come last
        candidates = np.flatnonzero(self.misses > 0)
        most_first = np.argsort(-self.misses[candidates])
        misses = self.misses[candidates[most_first]]
        level = np.concatenate(([0], np.cumsum(misses[1:] != misses[:-1])))[: len(misses)]
        by_misses = (level << 32) | candidates[most_first]
        count = min(len(stale), len(candidates))
        slots, inserted = (np.sort(keys)[:count] & BELOW for keys in (by_id, by_misses))
        return slots.astype(np.int32), inserted.astype(np.int32)

    def _put(self, inserted: Ids, slots: Ids) -> None:
        idle = self.served - (self.stale_at[slots] - self.lasts[slots])
        scores, gone = self.full_score[slots] * self.decay**idle, self.held[slots]
        filled = gone >= 0
        self.slot_of[gone[filled]] = -1
        self.misses[gone[filled]] = scores[filled]
        self.full_score[slots] = self.misses[inserted]
        self.misses[inserted] = HELD
        self.held[slots] = inserted
        self.slot_of[inserted] = slots
        self.state[OCCUPIED] += np.count_nonzero(~filled)
        self.state[STALE] -= len(slots)
        self.state[CANDIDATES] += np.count_nonzero(scores[filled] > 0) - len(slots)
        self.lasts[slots] = self._steps_to_stale(self.full_score[slots])
        self.stale_at[slots] = self.served + self.lasts[slots]
        self._schedule(slots)

    def _steps_to_stale(self, scores: NDArray[np.float64]) -> NDArray[np.int32]:
        """The smallest number of decays after which each score is below the threshold, `FAR` where there is none."""
        if self.threshold <= 0:
            return np.full(len(scores), FAR, np.int32)
        steps = np.maximum(np.ceil(np.log(self.threshold / scores) / np.log(self.decay)), 0)
        # The logarithm may be off by a step where a score meets the threshold exactly.
        steps += scores * self.decay**steps >= self.threshold
        steps -= (steps > 0) & (scores * self.decay ** (steps - 1) < self.threshold)
        return steps.astype(np.int32)

    def _schedule(self, slots: NDArray[np.integer]) -> None:
        """Note when slots that were just filled go stale."""
        at = self.stale_at[slots]
        self.state[STALE] += np.count_nonzero(at <= self.served)
        at = at[(at > self.served) & (at < FAR)]
        if len(at):
            self.latest = max(self.latest, int(at.max()))
            if self.latest >= len(self.expiring):
                self.expiring = np.concatenate((self.expiring, np.zeros(self.latest, np.int64)))
            np.add.at(self.expiring, at, 1)

    def contents(self) -> Ids:
        """The dense id in every slot, -1 where it is empty."""
        return self.held.copy()

    @property
    def occupied_rows(self) -> int:
        """Slots that hold a row."""
        return int(self.state[OCCUPIED])

    @property
    def stale_rows(self) -> int:
        """Slots below the threshold, empty ones among them."""
        return int(self.state[STALE])

    @property
    def candidate_rows(self) -> int:
        """Rows that are not held and have misses."""
        return int(self.state[CANDIDATES])


@kernel
def serve_hits(ids, served, slot_of, stale_at, expiring, state, hit_slots):  # type: ignore[no-untyped-def]
    """Fill in the slot of every id. A hit puts off the minibatch in which its slot goes stale. Returns the hits."""
    hits = 0
    for i in range(len(ids)):
        slot = slot_of[ids[i]]
        hit_slots[i] = slot
        if slot >= 0:
            hits += 1
            at = stale_at[slot]
            stale_at[slot] = at + 1
            if served <= at < FAR:
                expiring[at] -= 1
                expiring[at + 1] += 1
    if served < len(expiring):
        state[STALE] += expiring[served]
    return hits


@kernel
def count_misses(ids, hit_slots, misses, state):  # type: ignore[no-untyped-def]
    for i in range(len(ids)):
        if hit_slots[i] < 0:
            state[CANDIDATES] += misses[ids[i]] == 0
            misses[ids[i]] += 1
