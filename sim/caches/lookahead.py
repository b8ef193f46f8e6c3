"""MIN as far as a run has sampled ahead, and the likeliest rows beyond that.

Sampling never looks at the cache. So a loader that samples some minibatches ahead knows what they will ask for, and a
buffer can keep rows by knowledge: Belady's rule holds inside the horizon. Beyond it, nothing is known but how likely a
row is to be asked for.

Held rows are of two kinds. A row with a *known* next use lies in the bucket of that minibatch, in a ring of buckets.
The others lie in buckets by their *place* in the order of likelihood. Each bucket is a list that is linked through the
records of its rows.
"""

from __future__ import annotations

import numpy as np

from sim.caches.buckets import clear, empty_tree, furthest, push
from sim.caches.cache import Setup, constant, known_future
from sim.caches.demand import SLOT, Demand, Ids
from sim.caches.min import PENDING, drop, free_slots, settle
from sim.caches.static import most_likely
from sim.compiled import kernel, part
from sim.workload.capacity import parse_bytes
from sim.workload.stream import Stream
from traces.errors import InputError

NEXT, BEFORE, LAST_USE, AT, COUNT = 1, 2, 3, 4, 5
"""Of a row's record, after its slot: the next and the previous row of its bucket, the last minibatch that is known to
ask for it, the number of that access, and how often it was asked for."""
FIELDS = 6

WRAP = (1 << 31) - 1
"""Numbers of accesses are kept modulo 2^31: those that are still to come are never that far apart."""

UNKNOWN_ROWS, KNOWN_ROWS, FURTHEST = 1, 2, 3
"""Of `state`, after the occupied rows: held rows of either kind, and a minibatch beyond which no known use lies."""

UNKNOWN = -1
COUNTS = 1 << 16
"""Buckets of rows by the number of their accesses; rows with more than that are all in the first one."""


class LookAhead(Demand):
    """Keeps, after each minibatch, of the held and the missed rows those that are asked for again soonest.

    What the next `horizon` minibatches ask for is known, once `foresee` has told it; 0 knows nothing. Rows that they
    don't ask for go first, and of those the least likely: by vertex inclusion probability (`beyond=vip`, the default
    where the trace has it), or by the number of accesses so far (`beyond=frequency`). `memory`, in bytes such as 64MB,
    gives the horizon by what the sampled blocks of a minibatch can take at most. With `epochs=within` the horizon ends
    with the epoch, for loaders that can't sample the next epoch before this one has ended.

    A row is fetched only when a minibatch asks for it, and the cache starts empty whatever `Setup.init` says. So with a
    horizon of the whole run it fetches as few rows as MIN, and with none it is `vip-demand`.
    """

    takes_init = False
    live = False
    summary = "look-ahead: MIN over the minibatches sampled ahead, and the likeliest rows beyond them"
    source = (
        "Belady, IBM Systems Journal 5(2), 1966; known accesses as in RapidGNN, 2025; inclusion probabilities of "
        "SALIENT++, MLSys 2023"
    )

    def __init__(
        self, horizon: int = 16, memory: str = "", beyond: str = "", epochs: str = "across", *, setup: Setup
    ) -> None:
        """Raises `InputError` for options that can't be, and for `beyond=vip` where the trace has no probabilities."""
        super().__init__("batch", FIELDS, setup)
        if horizon < 0:
            raise InputError(f"lookahead: horizon={horizon} counts minibatches: it must be at least 0")
        if epochs not in ("across", "within"):
            raise InputError(f"lookahead: epochs={epochs!r}; there are across and within")
        if beyond not in ("", "vip", "frequency"):
            raise InputError(f"lookahead: beyond={beyond!r}; there are vip and frequency")
        known_future(setup, "lookahead")  # live loaders sample nothing ahead yet: there it would be `vip-demand`
        self.horizon = _minibatches_of(memory, setup) if memory else horizon
        self.epoch = setup.minibatches_per_epoch if epochs == "within" else 0
        self.by_count = beyond == "frequency" or (not beyond and setup.universe.vip is None)
        universe_rows = setup.universe.rows
        places = np.zeros(0, np.int32)
        if not self.by_count:
            order = most_likely(setup, "lookahead")
            places = np.empty_like(order)
            places[order] = np.arange(universe_rows, dtype=np.int32)
        self.places = constant(places)
        buckets = COUNTS if self.by_count else universe_rows
        self.unknown = np.full(buckets + 1, -1, np.int32)
        self.tree, levels = empty_tree(buckets + 1)
        self.levels = constant(levels)
        self.known = np.full(4, -1, np.int32)
        self.free = free_slots(self.capacity_rows)
        self.rows[:, COUNT] = 0
        self.next_use = np.empty(1024, np.int32)
        self.starts = np.zeros(4, np.int64)  # of the foreseen minibatches, where their uses begin; a ring like `known`
        self.head = self.end = 0  # the uses that are still to come stand in next_use[head:end]
        self.base = 0  # of next_use[0], its number among the accesses of the run
        self.served = self.foreseen = 0

    @property
    def looks_further(self) -> bool:
        """Whether the horizon shows one more minibatch than were foreseen."""
        last = self.served + self.horizon
        if self.epoch:
            last = min(last, self.served - self.served % self.epoch + self.epoch - 1)
        return self.foreseen <= last

    def look_ahead(self, stream: Stream) -> None:
        """Foresee what a run of `stream` has sampled by now."""
        while self.foreseen < stream.minibatches and self.looks_further:
            self.foresee(stream.minibatch(self.foreseen))

    def foresee(self, ids: Ids) -> None:
        """Take note of what the next minibatch that was sampled asks for: dense ids, ascending, distinct."""
        self._make_room(len(ids))
        ring = len(self.known)
        self.starts[self.foreseen % ring] = self.end
        see(
            ids, self.foreseen, self.served, self.base & WRAP, self.end, self.rows, self.next_use, self.known,
            self.unknown, self.places, self.by_count, self.tree, self.levels, self.state,
        )  # fmt: skip
        self.end += len(ids)
        self.foreseen += 1

    def _make_room(self, count: int) -> None:
        """For one more minibatch in the ring, and `count` more uses."""
        ring = len(self.known)
        if self.foreseen - self.served >= ring:
            wider, moved = np.full(2 * ring, -1, np.int32), np.zeros(2 * ring, np.int64)
            for minibatch in range(self.served, self.foreseen):
                wider[minibatch % (2 * ring)] = self.known[minibatch % ring]
                moved[minibatch % (2 * ring)] = self.starts[minibatch % ring]
            self.known, self.starts = wider, moved
        if self.end + count > len(self.next_use):
            kept = self.next_use[self.head : self.end]
            self.next_use = np.empty(max(2 * (len(kept) + count), len(self.next_use)), np.int32)
            self.next_use[: len(kept)] = kept
            self.base += self.head
            self.starts -= self.head
            self.head, self.end = 0, len(kept)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        if self.foreseen == self.served:
            self.foresee(ids)
        ends = self.end if self.foreseen == self.served + 1 else int(self.starts[(self.served + 1) % len(self.known)])
        if ends - self.head != len(ids):
            raise InputError("lookahead was asked for other rows than it had foreseen: give it this run's stream")
        uses = self.next_use[self.head : ends]
        done = serve_lookahead(
            ids, self.served, uses, self.rows, self.capacity_rows, self.known, self.unknown, self.places, self.by_count,
            self.tree, self.levels, self.free, self.state, hit_slots, inserted_ids, inserted_slots,
        )  # fmt: skip
        self.head = ends
        self.served += 1
        return done


def _minibatches_of(memory: str, setup: Setup) -> int:
    """How many minibatches' sampled blocks fit into so many bytes."""
    size = parse_bytes(memory, "lookahead: memory")
    if setup.block_bytes is None:
        raise InputError(f"lookahead: memory={memory}: a fanout of all neighbours has no largest block; give horizon=N")
    return size // setup.block_bytes


@part
def place_of(row, rows, places, by_count):  # type: ignore[no-untyped-def]
    """The bucket of a row whose next use is not known: the higher, the sooner it goes."""
    return max(COUNTS - rows[row, COUNT], 0) if by_count else places[row]


@part
def push_unknown(row, place, rows, unknown, tree, levels):  # type: ignore[no-untyped-def]
    """Put a row into the bucket of its place."""
    head = unknown[place]
    push(row, place, unknown, rows[:, NEXT], tree, levels)
    rows[row, BEFORE] = -1
    if head >= 0:
        rows[head, BEFORE] = row


@part
def take_unknown(row, place, rows, unknown, tree, levels):  # type: ignore[no-untyped-def]
    """Take a row out of the bucket of its place."""
    before, after = rows[row, BEFORE], rows[row, NEXT]
    if after >= 0:
        rows[after, BEFORE] = before
    if before >= 0:
        rows[before, NEXT] = after
    elif after >= 0:
        unknown[place] = after
    else:
        clear(place, unknown, tree, levels)


@part
def push_known(row, use, rows, known, state):  # type: ignore[no-untyped-def]
    """Put a row into the bucket of its next use."""
    bucket = use & (len(known) - 1)
    rows[row, NEXT] = known[bucket]
    known[bucket] = row
    state[FURTHEST] = max(state[FURTHEST], use)


@kernel
def see(  # type: ignore[no-untyped-def]
    ids, minibatch, now, base, end, rows, next_use, known, unknown, places, by_count, tree, levels, state
):
    """Note the uses of a minibatch that was sampled, where the uses before them can find them."""
    for i in range(len(ids)):
        row = ids[i]
        if rows[row, LAST_USE] >= now:
            next_use[(rows[row, AT] - base) & WRAP] = minibatch
        elif rows[row, SLOT] >= 0:
            take_unknown(row, place_of(row, rows, places, by_count), rows, unknown, tree, levels)
            push_known(row, minibatch, rows, known, state)
            state[UNKNOWN_ROWS] -= 1
            state[KNOWN_ROWS] += 1
        rows[row, LAST_USE], rows[row, AT] = minibatch, (base + end + i) & WRAP
        next_use[end + i] = UNKNOWN


@kernel
def serve_lookahead(  # type: ignore[no-untyped-def]
    ids, now, uses, rows, capacity, known, unknown, places, by_count, tree, levels, free, state,
    hit_slots, inserted_ids, inserted_slots,
):  # fmt: skip
    known[now & (len(known) - 1)] = -1  # held rows whose next use is now are the hits, all of them
    hits = missed = 0
    for i in range(len(ids)):
        row = ids[i]
        slot = rows[row, SLOT]
        hit_slots[i] = slot
        rows[row, COUNT] += 1
        if slot >= 0:
            hits += 1
            if uses[i] >= 0:
                push_known(row, uses[i], rows, known, state)
            else:
                push_unknown(row, place_of(row, rows, places, by_count), rows, unknown, tree, levels)
                state[UNKNOWN_ROWS] += 1
                state[KNOWN_ROWS] -= 1
        else:
            inserted_ids[missed], inserted_slots[missed] = row, uses[i]
            missed += 1
    for j in range(missed):
        row, use = inserted_ids[j], inserted_slots[j]
        if use < 0:
            continue
        if state[UNKNOWN_ROWS] + state[KNOWN_ROWS] == capacity:
            if state[UNKNOWN_ROWS]:
                evict_unknown(furthest(tree, levels), rows, unknown, tree, levels, capacity, free, state)
            else:
                while known[state[FURTHEST] & (len(known) - 1)] < 0:
                    state[FURTHEST] -= 1
                if use >= state[FURTHEST]:
                    continue
                bucket = state[FURTHEST] & (len(known) - 1)
                victim = known[bucket]
                known[bucket] = rows[victim, NEXT]
                drop(victim, rows, capacity, free, state)
                state[KNOWN_ROWS] -= 1
        push_known(row, use, rows, known, state)
        state[KNOWN_ROWS] += 1
        rows[row, SLOT] = PENDING
    for j in range(missed):
        row = inserted_ids[j]
        if inserted_slots[j] >= 0:
            continue
        place = place_of(row, rows, places, by_count)
        if state[UNKNOWN_ROWS] + state[KNOWN_ROWS] == capacity:
            if not state[UNKNOWN_ROWS]:
                break
            last = furthest(tree, levels)
            if place >= last:
                continue
            evict_unknown(last, rows, unknown, tree, levels, capacity, free, state)
        push_unknown(row, place, rows, unknown, tree, levels)
        state[UNKNOWN_ROWS] += 1
        rows[row, SLOT] = PENDING
    return hits, settle(0, missed, rows, capacity, free, state, inserted_ids, inserted_slots)


@part
def evict_unknown(last, rows, unknown, tree, levels, capacity, free, state):  # type: ignore[no-untyped-def]
    """Give up a row of the last place."""
    victim = unknown[last]
    take_unknown(victim, last, rows, unknown, tree, levels)
    drop(victim, rows, capacity, free, state)
    state[UNKNOWN_ROWS] -= 1
