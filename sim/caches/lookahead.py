"""MIN as far as a run has sampled ahead, and the likeliest rows beyond that.

Sampling never looks at the cache. So a loader that samples some minibatches ahead knows what they will ask for, and a
buffer can keep rows by knowledge: Belady's rule holds inside the horizon. Beyond it, nothing is known but how likely a
row is to be asked for.

Held rows are of two kinds. A row with a *known* next use lies in the bucket of that minibatch, in a ring of buckets.
The others lie in buckets by their *place* in the order of likelihood. Each bucket is a list that is linked through the
records of its rows.

Whether a row is held, and whether its next use is known, can't be predicted. So kernels first go over all ids without a
branch, and sort them into lists; what is to be put aside goes into a bucket that nobody looks at, behind the others.
"""

from __future__ import annotations

import numpy as np

from sim.caches.buckets import clear, empty_tree, furthest, push
from sim.caches.cache import Setup, constant
from sim.caches.demand import SLOT, Demand, Ids
from sim.caches.min import PENDING, drop, free_slots, settle
from sim.caches.static import most_likely
from sim.compiled import kernel, part
from sim.workload.capacity import parse_bytes
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
    gives the horizon by what the sampled blocks of a minibatch can take at most. The horizon ends with the epoch, as
    DistDGL's loader shuffles anew when an epoch begins, with a generator that training uses as well. `epochs=across`
    tells what a loader would gain that could draw the next epoch's order before; no live run can have it.

    A row is fetched only when a minibatch asks for it, and the cache starts empty whatever `Setup.init` says. So with a
    horizon of the whole run it fetches as few rows as MIN, and with none it is `vip-demand`.
    """

    takes_init = False
    summary = "look-ahead: MIN over the minibatches sampled ahead, and the likeliest rows beyond them"
    source = (
        "Belady, IBM Systems Journal 5(2), 1966; known accesses as in RapidGNN, 2025; inclusion probabilities of "
        "SALIENT++, MLSys 2023"
    )

    def __init__(
        self, horizon: int = 16, memory: str = "", beyond: str = "", epochs: str = "within", *, setup: Setup
    ) -> None:
        """Raises `InputError` for options that can't be, for `beyond=vip` where the trace has no probabilities, and for
        `epochs=across` in a live run."""
        super().__init__("batch", FIELDS, setup)
        if horizon < 0:
            raise InputError(f"lookahead: horizon={horizon} counts minibatches: it must be at least 0")
        if epochs not in ("across", "within"):
            raise InputError(f"lookahead: epochs={epochs!r}; there are across and within")
        if beyond not in ("", "vip", "frequency"):
            raise InputError(f"lookahead: beyond={beyond!r}; there are vip and frequency")
        if epochs == "across" and setup.future is None:
            raise InputError("lookahead: epochs=across: no live loader knows the next epoch's order; use epochs=within")
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
        self.known = np.full(5, -1, np.int32)  # a ring of buckets, and one for what is put aside
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

    def foresee(self, ids: Ids) -> None:
        """Take note of what the next minibatch that was sampled asks for."""
        self._make_room(len(ids))
        ring = len(self.known) - 1
        self.starts[self.foreseen % ring] = self.end
        see(
            ids, self.foreseen, self.served, self.base & WRAP, self.end, self.rows, self.next_use, self.known,
            self.unknown, self.places, self.by_count, self.tree, self.levels, self.state, np.empty(len(ids), np.int32),
        )  # fmt: skip
        self.end += len(ids)
        self.foreseen += 1

    def forget(self) -> None:
        """Drop what was foreseen and not served: the rows of those minibatches have no known next use."""
        forget(
            self.served, self.rows, self.known, self.unknown, self.places, self.by_count, self.tree, self.levels,
            self.state,
        )  # fmt: skip
        self.foreseen, self.end = self.served, self.head

    def _make_room(self, count: int) -> None:
        """For one more minibatch in the ring, and `count` more uses."""
        ring = len(self.known) - 1
        if self.foreseen - self.served >= ring:
            wider, moved = np.full(2 * ring + 1, -1, np.int32), np.zeros(2 * ring, np.int64)
            for minibatch in range(self.served, self.foreseen):
                wider[minibatch % (2 * ring)] = self.known[minibatch % ring]
                moved[minibatch % (2 * ring)] = self.starts[minibatch % ring]
            self.known, self.starts = wider, moved
        if self.end + count >= len(self.next_use):
            kept = self.next_use[self.head : self.end]
            self.next_use = np.empty(max(2 * (len(kept) + count) + 1, len(self.next_use)), np.int32)
            self.next_use[: len(kept)] = kept
            self.base += self.head
            self.starts -= self.head
            self.head, self.end = 0, len(kept)

    def _serve(self, ids: Ids, hit_slots: Ids, inserted_ids: Ids, inserted_slots: Ids) -> tuple[int, int]:
        if self.foreseen == self.served:
            self.foresee(ids)
        ends = self.end if self.foreseen == self.served + 1 else int(self.starts[(self.served + 1) % len(self.starts)])
        if ends - self.head != len(ids):
            raise InputError("lookahead was asked for other rows than it had foreseen: give it this run's stream")
        uses = self.next_use[self.head : ends]
        done = serve_lookahead(
            ids, self.served, uses, self.rows, self.capacity_rows, self.known, self.unknown, self.places, self.by_count,
            self.tree, self.levels, self.free, self.state, hit_slots, inserted_ids, inserted_slots,
            np.empty((3, len(ids)), np.int32),
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
def push_known(row, bucket, rows, known):  # type: ignore[no-untyped-def]
    """Put a row into a bucket of the ring."""
    rows[row, NEXT] = known[bucket]
    known[bucket] = row


@kernel
def see(  # type: ignore[no-untyped-def]
    ids, minibatch, now, base, end, rows, next_use, known, unknown, places, by_count, tree, levels, state, turned
):
    """Note the uses of a minibatch that was sampled, where the uses before them can find them."""
    aside, found = end + len(ids), 0
    for i in range(len(ids)):
        row = ids[i]
        foreseen = rows[row, LAST_USE] >= now
        next_use[(rows[row, AT] - base) & WRAP if foreseen else aside] = minibatch
        rows[row, LAST_USE], rows[row, AT] = minibatch, (base + end + i) & WRAP
        turned[found] = row
        found += (rows[row, SLOT] >= 0) & (not foreseen)
    next_use[end:aside] = UNKNOWN
    for j in range(found):
        row = turned[j]
        take_unknown(row, place_of(row, rows, places, by_count), rows, unknown, tree, levels)
        push_known(row, minibatch & (len(known) - 2), rows, known)
    state[FURTHEST] = max(state[FURTHEST], minibatch)
    state[UNKNOWN_ROWS] -= found
    state[KNOWN_ROWS] += found


@kernel
def forget(now, rows, known, unknown, places, by_count, tree, levels, state):  # type: ignore[no-untyped-def]
    """Forget all uses that are still to come."""
    known[:] = -1
    for row in range(len(rows)):
        if rows[row, LAST_USE] >= now:
            rows[row, LAST_USE] = -1
            if rows[row, SLOT] >= 0:
                push_unknown(row, place_of(row, rows, places, by_count), rows, unknown, tree, levels)
    state[UNKNOWN_ROWS] += state[KNOWN_ROWS]
    state[KNOWN_ROWS] = 0


@kernel
def serve_lookahead(  # type: ignore[no-untyped-def]
    ids, now, uses, rows, capacity, known, unknown, places, by_count, tree, levels, free, state,
    hit_slots, inserted_ids, inserted_slots, lists,
):  # fmt: skip
    mask = len(known) - 2
    known[now & mask] = -1  # held rows whose next use is now are the hits, all of them
    hits = lost = missed = soon = late = 0
    furthest_use = state[FURTHEST]
    for i in range(len(ids)):
        row, use = ids[i], uses[i]
        slot = rows[row, SLOT]
        hit_slots[i] = slot
        rows[row, COUNT] += 1
        push_known(row, use & mask if (slot >= 0) & (use >= 0) else mask + 1, rows, known)
        furthest_use = max(furthest_use, use)
        lists[0, lost], lists[1, soon], lists[2, late] = row, missed, missed
        inserted_ids[missed], inserted_slots[missed] = row, use
        hits += slot >= 0
        lost += (slot >= 0) & (use < 0)
        soon += (slot < 0) & (use >= 0)
        late += (slot < 0) & (use < 0)
        missed += slot < 0
    state[FURTHEST] = furthest_use
    for j in range(lost):
        row = lists[0, j]
        push_unknown(row, place_of(row, rows, places, by_count), rows, unknown, tree, levels)
    state[UNKNOWN_ROWS] += lost
    state[KNOWN_ROWS] -= lost
    for j in range(soon):
        row, use = inserted_ids[lists[1, j]], inserted_slots[lists[1, j]]
        if state[UNKNOWN_ROWS] + state[KNOWN_ROWS] == capacity:
            if state[UNKNOWN_ROWS]:
                evict_unknown(furthest(tree, levels), rows, unknown, tree, levels, capacity, free, state)
            else:
                while known[state[FURTHEST] & mask] < 0:
                    state[FURTHEST] -= 1
                if use >= state[FURTHEST]:
                    continue
                bucket = state[FURTHEST] & mask
                victim = known[bucket]
                known[bucket] = rows[victim, NEXT]
                drop(victim, rows, capacity, free, state)
                state[KNOWN_ROWS] -= 1
        push_known(row, use & mask, rows, known)
        state[KNOWN_ROWS] += 1
        rows[row, SLOT] = PENDING
    last = -1
    for j in range(late):
        row = inserted_ids[lists[2, j]]
        place = place_of(row, rows, places, by_count)
        if state[UNKNOWN_ROWS] + state[KNOWN_ROWS] == capacity:
            if not state[UNKNOWN_ROWS]:
                break
            if last < 0:
                last = furthest(tree, levels)
            if place >= last:
                continue
            evict_unknown(last, rows, unknown, tree, levels, capacity, free, state)
            last = -1
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
