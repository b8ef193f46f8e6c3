"""Caches of a user's own, by spec string and as classes."""

import sys

import numpy as np
import pytest
from streams import setup, skewed

from agents.user_code import spec_of
from sim.caches.registry import NAMES, cache_class, is_bound, make_cache, may_ask_policy
from traces.errors import InputError

LATEST = '''
import numpy as np

from sim.caches.cache import Access, Cache


class Latest(Cache):
    """Keeps what was missed last."""

    managed = False

    def __init__(self, share: float = 1.0, *, setup):
        super().__init__(setup)
        self.share = share
        self.slots, self.next = np.full(self.capacity_rows, -1, np.int32), 0

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


class Undecided(Latest):
    managed = None


class Unfinished(Cache):
    managed = True


class NoCache:
    managed = False
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, which holds mine.py, and a package that registers its cache as `latest`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = set(sys.modules)
    for name in ("mine.py", "my_caches.py"):
        (tmp_path / name).write_text(LATEST)
    package = tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[rudder_twin.caches]\nlatest = my_caches:Latest\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("text", ["mine.py:Latest:.5", "my_caches:Latest:share=.5", "latest:.5"])
def test_a_cache_is_made_from_its_spec(text):
    trace = skewed(4, 20, 100)
    cache = make_cache(text, setup(30, trace))
    assert cache.share == 0.5
    assert not cache_class(text).managed
    for m in range(4):
        cache.access(trace.minibatch(m))
    np.testing.assert_array_equal(np.sort(cache.contents()), np.unique(cache.contents()))
    assert make_cache(spec_of(cache_class(text)), setup(30, trace)).share == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mine.py:NoCache",
            "mine.py:NoCache: is no cache: it must be a class that inherits from sim.caches.cache.Cache",
        ),
        ("mine.py:LATEST", "mine.py:LATEST: mine.py has no LATEST"),
        ("mine.py:Undecided", "mine.py:Undecided: says nothing of `managed`; set it to True where policies decide"),
        ("mine.py:Unfinished", "mine.py:Unfinished: can't be made: TypeError: Can't instantiate abstract class"),
        ("mine.py:Latest:size=3", "there is no option 'size'; write mine.py:Latest:share=1.0"),
        ("their_caches:Latest", "there is no cache 'their_caches'; there are arc, .*, latest; and of your own FILE.py"),
        ("object:latest", "object:latest: a cache is named by its class, not by an object"),
    ],
)
def test_what_is_no_cache_is_told_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        make_cache(text, setup(30, skewed(4, 20, 100)))
    assert "\n" not in str(error.value)


def test_another_source_is_refused_with_both_checksums(folder):
    given, before = setup(30, skewed(4, 20, 100)), NAMES.user_code("mine.py:Latest").sha256
    assert make_cache("mine.py:Latest", given, before).share == 1.0
    (folder / "mine.py").write_text(LATEST + "# another\n")
    now = NAMES.user_code("mine.py:Latest").sha256
    with pytest.raises(InputError, match=f"mine.py:Latest: .* checksum {now[:16]}, .* made with {before[:16]}"):
        make_cache("mine.py:Latest", given, before)


def test_tables_are_shown_without_loading_anything(folder):
    (folder / "mine.py").write_text("open('marker', 'w')\n" + LATEST)
    shown = ["mine.py:Latest", "latest", "no_longer_installed:3"]
    assert all(may_ask_policy(text) and not is_bound(text) for text in shown)
    assert not (folder / "marker").exists()
    assert "my_caches" not in sys.modules
    assert (may_ask_policy("lru"), may_ask_policy("score:period=4")) == (False, True)
    assert is_bound("hindsight")
    assert not is_bound("lru")
