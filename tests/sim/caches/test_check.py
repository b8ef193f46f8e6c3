"""The conformance suite for caches: ours keep every rule, and each rule finds the cache that breaks it."""

import numpy as np
import pytest

from sim.caches.cache import Access, Cache, initial_ids
from sim.caches.check import BrokenProtocol, check_cache
from sim.caches.registry import CACHES
from traces.errors import InputError


@pytest.mark.parametrize("name", CACHES)
def test_every_cache_of_ours_keeps_every_rule(name):
    assert len(check_cache(name)) == 8


class Latest(Cache):
    """Keeps what was missed last: right, and slow."""

    managed = False

    def __init__(self, *, setup):
        super().__init__(setup)
        self.slots, self.next = np.full(self.capacity_rows, -1, np.int32), 0
        first = initial_ids(setup)
        self.slots[: len(first)] = first

    def access(self, ids, decision=None):
        slot_of = {row: slot for slot, row in enumerate(self.slots.tolist()) if row >= 0}
        hit_slots = np.array([slot_of.get(row, -1) for row in ids.tolist()], np.int32)
        missed = ids[hit_slots < 0][: self.capacity_rows]
        into = ((self.next + np.arange(len(missed))) % self.capacity_rows).astype(np.int32)
        self.slots[into] = missed
        self.next = (self.next + len(missed)) % self.capacity_rows
        return Access(hit_slots, int((hit_slots >= 0).sum()), missed, into, 0)

    def contents(self):
        return self.slots.copy()


def test_a_class_of_ones_own_is_checked():
    assert len(check_cache(lambda setup: Latest(setup=setup))) == 8


class StartsEmpty(Latest):
    def __init__(self, *, setup):
        super().__init__(setup=setup)
        self.slots[:] = -1


class Says(StartsEmpty):
    takes_init = False


class SaysWrongly(Latest):
    takes_init = False


def test_a_cache_with_a_start_of_its_own_says_so():
    assert len(check_cache(lambda setup: Says(setup=setup))) == 8
    with pytest.raises(BrokenProtocol, match="whatever `init` says: set takes_init = False"):
        check_cache(lambda setup: StartsEmpty(setup=setup))
    with pytest.raises(BrokenProtocol, match="depends on `init`, and takes_init is False"):
        check_cache(lambda setup: SaysWrongly(setup=setup))


class InsertsFirst(Latest):
    def access(self, ids, decision=None):
        first = super().access(ids)
        again = super().access(ids)
        return first._replace(hit_slots=again.hit_slots, hit_rows=again.hit_rows)


class CountsAll(Latest):
    def access(self, ids, decision=None):
        return super().access(ids)._replace(hit_rows=len(ids))


class Grows(Latest):
    def contents(self):
        return np.append(self.slots, -1)


class Misplaces(Latest):
    def access(self, ids, decision=None):
        access = super().access(ids)
        return access._replace(inserted_slots=access.inserted_slots[::-1].copy())


class Outside(Latest):
    def access(self, ids, decision=None):
        access = super().access(ids)
        return access._replace(inserted_slots=access.inserted_slots + self.capacity_rows)


class Twice(Latest):
    def __init__(self, *, setup):
        super().__init__(setup=setup)
        self.slots[:] = self.slots[0]


class Hides(Latest):
    def access(self, ids, decision=None):
        wanted = ids[:1][self.slots[0] != ids[:1]]
        self.slots[:1] = wanted if len(wanted) and wanted[0] not in self.slots else self.slots[:1]
        access = Access(np.full(len(ids), -1, np.int32), 0, ids[:0], ids[:0], 0)
        held = {row: slot for slot, row in enumerate(self.slots.tolist()) if row >= 0}
        return access._replace(hit_slots=np.array([held.get(row, -1) for row in ids.tolist()], np.int32))


class Generous(Latest):
    def access(self, ids, decision=None):
        access = super().access(ids)
        return access._replace(replacement_rows=len(access.inserted_ids) + 1)


class Restless(Latest):
    managed = True


class Obedient(Latest):
    managed = True

    def access(self, ids, decision=None):
        if decision is not None and decision.replace:
            return super().access(ids)
        before, next_slot = self.slots.copy(), self.next
        access = super().access(ids)
        self.slots[:], self.next = before, next_slot
        return access._replace(inserted_ids=ids[:0], inserted_slots=ids[:0])


class Drawn(Latest):
    def __init__(self, *, setup):
        super().__init__(setup=setup)
        self.next = int(np.random.default_rng().integers(1 << 30)) % self.capacity_rows


class Shared(Latest):
    def __init__(self, *, setup):
        super().__init__(setup=setup)
        self.state = {"slots": self.slots}

    def access(self, ids, decision=None):
        self.slots = self.state["slots"]
        return super().access(ids)


class Changes(Latest):
    def access(self, ids, decision=None):
        access = super().access(ids.copy())
        ids[:1] += len(ids) * 0 + 1
        return access


class NeedsTheFuture(Latest):
    def __init__(self, *, setup):
        super().__init__(setup=setup)
        self.last = setup.future.minibatches


class Raises(Latest):
    def access(self, ids, decision=None):
        assert 1 // len(ids) < 2
        return super().access(ids)


class Unsaid(Latest):
    managed = None


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (InsertsFirst, "hit_slots of row .*; before that, it was in slot"),
        (CountsAll, "hit_rows is 60 on minibatch 0 .*; of the ids, .* were held before it"),
        (Grows, r"contents\(\) has 41 slots before .*; capacity_rows is 40"),
        (Misplaces, "slot .* holds row .*; by what was inserted it should hold"),
        (Outside, "inserted_slots goes from .*; there are 40"),
        (Twice, "hit_slots of row|a row is held in two slots"),
        (Hides, "hit_slots of row|hit_rows is 0"),
        (Generous, "replacement_rows is .* rows inserted, 0 were not among the misses"),
        (Restless, "is managed, and changes in minibatch 0 though no policy said so"),
        (Drawn, "two fresh caches under one seed differ"),
        (Shared, "a fork differs from what it is forked from|a cache differs after a fork"),
        (Changes, "changes the ids that it is given"),
        (NeedsTheFuture, "can't be made without a future: AttributeError"),
        (Raises, "raises on minibatch 39 .*: ZeroDivisionError"),
        (Unsaid, "is no cache: inherit from sim.caches.cache.Cache, and set `managed`"),
    ],
)
def test_a_broken_cache_is_found(kind, message):
    with pytest.raises(BrokenProtocol, match=message):
        check_cache(lambda setup: kind(setup=setup))


def test_a_managed_cache_that_does_as_told_keeps_every_rule():
    assert len(check_cache(lambda setup: Obedient(setup=setup))) == 8


def test_the_command(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from sim.caches.lru import LRU\nclass Mine(LRU): pass\nclass Bad(LRU):\n    def contents(self):\n"
        "        return super().contents()[1:]\n"
    )
    code, out, _ = run_cli("sim.caches.check", "mine.py:Mine")
    assert (code, out.count("mine.py:Mine ")) == (0, 8)
    code, _, err = run_cli("sim.caches.check", "mine.py:Bad")
    assert (code, err.startswith("broken: mine.py:Bad: contents() has")) == (1, True)
    code, _, err = run_cli("sim.caches.check", "mine.py:Lost")
    assert (code, err) == (2, "error: mine.py:Lost: mine.py has no Lost\n")
    with pytest.raises(InputError, match="there is no cache 'lru2'"):
        check_cache("lru2")
