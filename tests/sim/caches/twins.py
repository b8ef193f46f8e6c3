"""Every cache again, from its paper, with lists and dicts: slow, plain, and written without a look at the kernels.

`serve(ids)` takes one minibatch and returns the rows of it that were hits; `held` is what the cache holds.
"""

import math


class Demand:
    """Misses come in by ascending id until all slots hold rows of this minibatch."""

    def __init__(self, capacity, initial=()):
        self.capacity, self.held, self.busy = capacity, set(), set()
        self.serve(list(initial)[::-1])

    def serve(self, ids):
        hits = [row for row in ids if row in self.held]
        misses = [row for row in ids if row not in self.held]
        for row in hits:
            self.hit(row)
        self.busy = set(hits)
        for row in misses[: self.capacity - len(hits)]:
            self.miss(row)
            self.held.add(row)
            self.busy.add(row)
        return hits

    def full(self):
        return len(self.held) == self.capacity


class FIFO(Demand):
    def __init__(self, *args):
        self.queue = []
        super().__init__(*args)

    def hit(self, row):
        pass

    def miss(self, row):
        if self.full():
            while self.queue[0] in self.busy:
                self.queue.append(self.queue.pop(0))
            self.held.remove(self.queue.pop(0))
        self.queue.append(row)


class LRU(FIFO):
    def hit(self, row):
        self.queue.remove(row)
        self.queue.append(row)


class Clock(Demand):
    def __init__(self, *args):
        self.queue, self.marked = [], set()
        super().__init__(*args)

    def hit(self, row):
        self.marked.add(row)

    def miss(self, row):
        if self.full():
            while self.queue[0] in self.marked | self.busy:
                self.marked.discard(self.queue[0])
                self.queue.append(self.queue.pop(0))
            self.held.remove(self.queue.pop(0))
        self.queue.append(row)


class Sieve(Demand):
    def __init__(self, *args):
        self.queue, self.marked, self.hand = [], set(), None  # oldest first; the hand is a row, None before the oldest
        super().__init__(*args)

    def hit(self, row):
        self.marked.add(row)

    def after(self, row):
        place = self.queue.index(row) + 1
        return self.queue[place] if place < len(self.queue) else None

    def miss(self, row):
        if self.full():
            at = self.hand if self.hand is not None else self.queue[0]
            while at in self.marked | self.busy:
                self.marked.discard(at)
                newer = self.after(at)
                at = newer if newer is not None else self.queue[0]
            self.hand = self.after(at)
            self.queue.remove(at)
            self.held.remove(at)
        self.queue.append(row)


class LFU(Demand):
    def __init__(self, *args):
        self.count, self.since, self.clock = {}, {}, 0
        super().__init__(*args)

    def hit(self, row):
        self.clock += 1
        self.count[row], self.since[row] = self.count[row] + 1, self.clock

    def miss(self, row):
        if self.full():
            victim = min(self.held - self.busy, key=lambda r: (self.count[r], self.since[r]))
            self.held.remove(victim)
        self.clock += 1
        self.count[row], self.since[row] = 1, self.clock


class S3FIFO(Demand):
    def __init__(self, capacity, *args):
        self.small, self.main, self.ghost, self.count = [], [], [], {}
        super().__init__(capacity, *args)

    def hit(self, row):
        self.count[row] = min(self.count[row] + 1, 3)

    def miss(self, row):
        known = row in self.ghost or (not self.full() and len(self.small) >= max(self.capacity // 10, 1))
        if row in self.ghost:
            self.ghost.remove(row)
        if self.full():
            self.held.remove(self.evict())
        (self.main if known else self.small).append(row)
        self.count[row] = 0

    def evict(self):
        if len(self.small) >= max(self.capacity // 10, 1) or set(self.main) <= self.busy:
            while not set(self.small) <= self.busy:
                row = self.small.pop(0)
                if self.count[row] >= 2:
                    self.main.append(row)
                    self.count[row] = 0
                elif row in self.busy:
                    self.small.append(row)
                else:
                    self.ghost = [*self.ghost, row][-(self.capacity * 9 // 10) :] if self.capacity > 1 else []
                    return row
        while True:
            row = self.main.pop(0)
            if self.count[row] == 0 and row not in self.busy:
                return row
            self.count[row] = max(self.count[row] - 1, 0)
            self.main.append(row)


class ARC(Demand):
    def __init__(self, *args):
        self.t1, self.t2, self.b1, self.b2, self.p = [], [], [], [], 0
        super().__init__(*args)

    def hit(self, row):
        (self.t1 if row in self.t1 else self.t2).remove(row)
        self.t2.append(row)

    def replace(self, in_b2):
        first = bool(self.t1) and (len(self.t1) > self.p or (in_b2 and len(self.t1) == self.p))
        if first and set(self.t1) <= self.busy:
            first = False
        elif not first and set(self.t2) <= self.busy:
            first = True
        queue, ghosts = (self.t1, self.b1) if first else (self.t2, self.b2)
        self.held.remove(queue[0])
        ghosts.append(queue.pop(0))

    def miss(self, row):
        c = self.capacity
        if row in self.b1:
            self.p = min(c, self.p + max(1, len(self.b2) / len(self.b1)))
            self.b1.remove(row)
            if self.full():
                self.replace(False)
            self.t2.append(row)
        elif row in self.b2:
            self.p = max(0, self.p - max(1, len(self.b1) / len(self.b2)))
            self.b2.remove(row)
            if self.full():
                self.replace(True)
            self.t2.append(row)
        else:
            if len(self.t1) == c:
                self.held.remove(self.t1.pop(0))
            elif self.full():
                if len(self.t1) + len(self.b1) == c:
                    self.b1.pop(0)
                elif len(self.t1) + len(self.t2) + len(self.b1) + len(self.b2) == 2 * c:
                    self.b2.pop(0)
                self.replace(False)
            self.t1.append(row)


class WTinyLFU:
    def __init__(self, capacity, initial=()):
        self.capacity, self.sampled, self.count = capacity, 0, {}
        self.window, self.probation, self.protected = [], [], []
        self.most_window = max(capacity // 100, 1)
        self.serve(list(initial)[::-1])

    @property
    def held(self):
        return {*self.window, *self.probation, *self.protected}

    def serve(self, ids):
        before = self.held
        busy = before & set(ids)
        for row in ids:
            self.count[row] = min(self.count.get(row, 0) + 1, 15)
            self.sampled += 1
            if self.sampled >= 10 * self.capacity:
                self.sampled //= 2
                self.count = {r: c // 2 for r, c in self.count.items()}
            if row in self.window:
                self.window.remove(row)
                self.window.append(row)
            elif row in self.protected:
                self.protected.remove(row)
                self.protected.append(row)
            elif row in self.probation:
                self.probation.remove(row)
                self.protected.append(row)
                if len(self.protected) > (self.capacity - self.most_window) * 4 // 5:
                    self.probation.append(self.protected.pop(0))
        for row in ids:
            if row not in before and self.admit(row, busy):
                busy.add(row)
        return [row for row in ids if row in before]

    def admit(self, row, busy):
        if len(self.held) < self.capacity:
            if len(self.window) == self.most_window:
                self.probation.append(self.window.pop(0))
            self.window.append(row)
            return True
        main = self.probation or self.protected
        filtered = len(self.window) == self.most_window and self.window[0] in busy
        candidate = row if filtered else self.window[0]
        wins = bool(main) and main[0] not in busy and self.count.get(candidate, 0) > self.count.get(main[0], 0)
        if wins:
            main.pop(0)
        if filtered:
            if wins:
                self.probation.append(row)
            return wins
        self.window.pop(0)
        if wins:
            self.probation.append(candidate)
        self.window.append(row)
        return True


class MIN:
    """By the definition: after each minibatch, of all rows at hand, those whose next use is soonest."""

    def __init__(self, capacity, minibatches):
        self.capacity, self.future, self.held = capacity, [set(m) for m in minibatches], set()

    def serve(self, ids):
        hits = [row for row in ids if row in self.held]
        self.future.pop(0)
        used_again = [row for row in self.held | set(ids) if self.next_use(row) is not None]
        self.held = set(sorted(used_again, key=self.next_use)[: self.capacity])
        return hits

    def next_use(self, row):
        return next((i for i, m in enumerate(self.future) if row in m), None)


class LookAhead:
    """Of rows that are as good as each other, the one that came to where it is last goes first.

    `place(row, accesses)` says which of the rows goes first whose next use is not known: the one with the highest.
    """

    def __init__(self, capacity, minibatches, horizon, place, epoch=None):
        self.capacity, self.minibatches, self.horizon = capacity, minibatches, horizon
        self.place, self.epoch, self.now = place, epoch or len(minibatches), -1
        self.known, self.unknown, self.accesses = [], [], {}

    @property
    def held(self):
        return {*self.known, *self.unknown}

    def visible(self):
        """Minibatches that have been sampled, the present one first."""
        epoch_ends = (self.now // self.epoch + 1) * self.epoch
        return range(self.now, min(self.now + self.horizon + 1, epoch_ends, len(self.minibatches)))

    def next_use(self, row):
        return next((m for m in self.visible()[1:] if row in self.minibatches[m]), None)

    def rank(self, row):
        return self.place(row, self.accesses.get(row, 0))

    def serve(self, ids):
        self.now += 1
        for m in self.visible():
            for row in self.minibatches[m]:
                if row in self.unknown:
                    self.unknown.remove(row)
                    self.known.append(row)
        hits = [row for row in ids if row in self.held]
        misses = [row for row in ids if row not in self.held]
        for row in ids:
            self.accesses[row] = self.accesses.get(row, 0) + 1
        for row in hits:
            self.known.remove(row)
        for row in hits:
            (self.unknown if self.next_use(row) is None else self.known).append(row)
        for row in misses:
            if self.next_use(row) is not None and self.room(self.next_use(row)):
                self.known.append(row)
        for row in misses:
            if self.next_use(row) is None and self.room(None, self.rank(row)):
                self.unknown.append(row)
        return hits

    def room(self, use, rank=None):
        """Whether a row with that next use, or of that rank, has a place; another may have to go for it."""
        if len(self.held) < self.capacity:
            return True
        if self.unknown:
            worst = max(map(self.rank, self.unknown))
            if use is None and rank >= worst:
                return False
            last_of(self.unknown, lambda row: self.rank(row) == worst)
            return True
        furthest = max(map(self.next_use, self.known))
        if use is None or use >= furthest:
            return False
        last_of(self.known, lambda row: self.next_use(row) == furthest)
        return True


def last_of(rows, chosen):
    """Take the last of the chosen rows out of a list."""
    rows.reverse()
    rows.remove(next(filter(chosen, rows)))
    rows.reverse()


class VIPDemand:
    """After each minibatch, of all rows at hand, the first by `key`."""

    def __init__(self, capacity, key):
        self.capacity, self.key, self.held = capacity, key, set()

    def serve(self, ids):
        hits = [row for row in ids if row in self.held]
        self.held = set(sorted(self.held | set(ids), key=self.key)[: self.capacity])
        return hits


class Compulsory:
    def __init__(self):
        self.held = set()

    def serve(self, ids):
        hits = [row for row in ids if row in self.held]
        self.held |= set(ids)
        return hits


class Static:
    """The rows that come first by `key`."""

    def __init__(self, capacity, rows, key):
        self.held = set(sorted(rows, key=key)[:capacity])

    def serve(self, ids):
        return [row for row in ids if row in self.held]


class Presampled:
    """At the end of the minibatches `turns`: the rows asked for most often, without moving those that are there."""

    def __init__(self, capacity, initial, degree_rank, turns):
        self.slots = [*initial, *[None] * (capacity - len(initial))]
        self.rank, self.turns, self.past = degree_rank, turns, []

    @property
    def held(self):
        return set(self.slots) - {None}

    def serve(self, ids):
        hits = [row for row in ids if row in self.slots]
        self.past.append(ids)
        if len(self.past) in self.turns:
            asked = [row for ids in self.past for row in ids]
            best = sorted(set(asked), key=lambda row: (-asked.count(row), self.rank[row]))[: len(self.slots)]
            left = [slot for slot, row in enumerate(self.slots) if row is None]
            left += [slot for slot, row in enumerate(self.slots) if row is not None and row not in best]
            for slot, row in zip(left, [row for row in best if row not in self.slots], strict=False):
                self.slots[slot] = row
        return hits


class Managed:
    """`degree_rank[row]` is 0 for the row of highest degree. Subclasses say what is stale and what is worth more."""

    def __init__(self, capacity, initial, degree_rank):
        self.capacity, self.rank, self.held = capacity, degree_rank, set(initial)
        self.seen, self.last, self.now = set(initial), dict.fromkeys(initial, -1), -1

    def serve(self, ids):
        self.now += 1
        hits = [row for row in ids if row in self.held]
        self.count(ids)
        self.seen |= set(ids)
        self.last |= dict.fromkeys(ids, self.now)
        return hits

    def stale(self):
        return self.held

    def worth(self, row, ranking):
        return {"misses": self.accesses, "recent": lambda r: self.last[r], "degree": lambda r: -self.rank[r]}[ranking](
            row
        )

    def replace(self, share, ranking):
        """Returns how many of the rows that came in must be fetched."""
        budget = math.ceil(share * len(self.stale()))
        victims = sorted(
            (row for row in self.stale() if self.last[row] < self.now),
            key=lambda r: (self.victim_key(r, ranking), -self.rank[r]),
        )
        candidates = sorted(self.seen - self.held, key=lambda r: (-self.worth(r, ranking), self.rank[r]))
        inserted = []
        for row in candidates:
            if len(self.held) == self.capacity:
                while victims and not self.worth(row, ranking) > self.worth(victims[0], ranking):
                    victims.pop(0)
                if not victims or budget == 0:
                    break
                self.held.remove(victims.pop(0))
                budget -= 1
            self.held.add(row)
            inserted.append(row)
        self.inserted(inserted)
        return sum(self.last[row] < self.now for row in inserted)

    def victim_key(self, row, ranking):
        return self.worth(row, ranking)

    def inserted(self, rows):
        pass


class Score(Managed):
    def __init__(self, capacity, initial, degree_rank, alpha, period):
        super().__init__(capacity, initial, degree_rank)
        self.alpha, self.period = alpha, period
        self.counts, self.idle = {}, dict.fromkeys(initial, 0)

    def count(self, ids):
        for row in self.idle:
            self.idle[row] += 1
        for row in ids:
            self.counts[row] = self.counts.get(row, 0) + 1
            if row in self.held:
                self.idle[row] = 0

    def accesses(self, row):
        return self.counts.get(row, 0)

    def steps(self, row):
        """By how many decays a row's score is above the threshold, at most 0 for a stale row."""
        score, threshold, steps = max(self.accesses(row), 1), (1 - self.alpha) ** self.period, 0
        while score > threshold * (1 + 1e-9):
            score, steps = score * (1 - self.alpha), steps + 1
        at_threshold = score > threshold * (1 - 1e-9)
        return steps + at_threshold - self.idle[row]

    def stale(self):
        return {row for row in self.held if self.steps(row) <= 0}

    def victim_key(self, row, ranking):
        return self.steps(row)

    def inserted(self, rows):
        self.idle = {row: idle for row, idle in self.idle.items() if row in self.held} | dict.fromkeys(rows, 0)


class Window(Managed):
    def __init__(self, capacity, initial, degree_rank, minibatches):
        super().__init__(capacity, initial, degree_rank)
        self.minibatches, self.recent = minibatches, []

    def count(self, ids):
        self.recent = [*self.recent, ids][-self.minibatches :]

    def accesses(self, row):
        return sum(row in ids for ids in self.recent)


class Frequency(Managed):
    """With a half-life of 1 the decayed counts are binary numbers, exact in any order of operations."""

    def __init__(self, capacity, initial, degree_rank):
        super().__init__(capacity, initial, degree_rank)
        self.weights = {}

    def count(self, ids):
        self.weights = {row: weight / 2 for row, weight in self.weights.items()}
        for row in ids:
            self.weights[row] = self.weights.get(row, 0) + 1

    def accesses(self, row):
        return self.weights.get(row, 0)


class PublicScore:
    """The published arithmetic step by step: every score of the buffer is decayed in every minibatch.

    With alpha a power of a half that is exact, so ties are ties here and in the kernel. With another alpha equal scores
    differ in their last digits, here and there in other ones. Which of them comes in first the published code leaves to
    an unstable sort; so here it is those that the kernel took in, which are handed to `serve` as `taken`.
    """

    def __init__(self, capacity, initial, rows, alpha, period):
        self.empty = 10**9  # ids of empty slots begin here
        self.ids = [*initial, *range(self.empty, self.empty + capacity - len(initial))]
        self.score = [1.0] * capacity
        self.misses = [-1.0 if row in initial else 0.0 for row in range(rows)]
        self.decay, self.threshold = 1 - alpha, round((1 - alpha) ** period, 3)

    @property
    def held(self):
        return {row for row in self.ids if row < self.empty}

    def serve(self, ids, replace=False, taken=None):
        order = sorted(range(len(self.ids)), key=lambda slot: self.ids[slot])
        self.ids, self.score = [self.ids[slot] for slot in order], [self.score[slot] for slot in order]
        hits = [row for row in ids if row in self.ids]
        self.score = [s if row in ids else s * self.decay for row, s in zip(self.ids, self.score, strict=True)]
        stale = self.stale()
        candidates = [row for row, misses in enumerate(self.misses) if misses > 0]
        if taken is None:
            candidates.sort(key=lambda row: -self.misses[row])
        else:
            candidates.sort(key=lambda row: (-float(f"{self.misses[row]:.12g}"), row not in taken))
        count = min(len(stale), len(candidates)) if replace else 0
        for slot, row in zip(stale[:count], candidates[:count], strict=True):
            if self.ids[slot] < self.empty:
                self.misses[self.ids[slot]] = self.score[slot]
            self.ids[slot], self.score[slot], self.misses[row] = row, self.misses[row], -1.0
        if count == 0:
            for row in set(ids) - set(hits):
                self.misses[row] += 1
        self.fetched = count
        return hits

    def stale(self):
        return [slot for slot, score in enumerate(self.score) if score < self.threshold]
