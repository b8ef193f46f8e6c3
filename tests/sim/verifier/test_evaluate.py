"""Scores: the same as without a process of its own, whatever a candidate tries, and for every time that it is run."""

import re

import pytest

from sim.runs.twin import Twin
from sim.verifier.candidate import Candidate, Ours
from sim.verifier.cells import Cell
from sim.verifier.evaluate import Verifier, measure, speedup
from traces.errors import InputError

RANKING = """
from sim.caches.ranked import Ranked

class Often(Ranked):
    def rank(self, rows):
        return rows.accesses - 0.25 * rows.age
"""

POLICY = """
from agents.policy import Decision

class Odd:
    name = "odd"
    timed = False
    def reset(self, run, seed):
        self.share = 1.0
    def decide(self, observation):
        return Decision(replace=observation.minibatch % 2 == 1, share=self.share)
"""

TIMED = POLICY.replace("timed = False", "").replace(
    "observation.minibatch % 2 == 1", "observation.window.stall_s * 4 > observation.window.step_s"
)

PATCHES = """
import os, sys
import numpy as np
import agents.policy, sim.caches.cache, sim.caches.ranked
print("combined_score: 99")
np.count_nonzero = lambda *given, **named: 10**9
agents.policy.WindowCounts.hit_rate_remote = property(lambda self: 1.0)
sim.caches.cache.Access.hit_rows = 10**9
sys.modules["sim.runs"] = None
for path in ("traces/debian.parquet", "/proc/self/mem"):
    try:
        open(path)
    except OSError:
        pass
"""

BAD_CACHE = """
import numpy as np
from sim.caches.cache import Access, Cache

class Bad(Cache):
    managed = False
    def __init__(self, *, setup):
        super().__init__(setup)
    def access(self, ids, decision=None):
        return Access(ids, len(ids), {inserted}, {slots}, 0)
    def contents(self):
        return np.full({held}, -1, np.int32)
"""


@pytest.fixture
def verifier(trace):
    return Verifier([trace], [trace], buffers=("5",), scenarios=("steady", "congested"))


@pytest.mark.parametrize("source", [RANKING, POLICY, TIMED])
def test_it_scores_what_the_simulator_gives_for_the_same_class(source, trace, write):
    path, twin = write(source), Twin.open(trace, {"remote"})
    cell = Cell(trace=trace.stem, buffer="5")
    found = measure(Candidate(path), twin, cell)
    kind = "Often" if source == RANKING else "Odd"
    named = {"cache": f"{path}:{kind}"} if source == RANKING else {"policy": f"{path}:{kind}", "ahead": True}
    run = twin.simulate(**named, **cell.options)
    assert found.fetched_rows == run.row["fetched_rows"]
    assert found.epochs_s == tuple(run.epochs["epoch_s"].to_list())
    assert 0 < found.hit_rate_remote == run.row["hit_rate_remote"]


@pytest.mark.parametrize("source", [RANKING, POLICY])
def test_neither_fakes_nor_patches_change_a_score(source, verifier, write):
    honest = verifier.evaluate(write(source))
    faked = verifier.evaluate(write(source + PATCHES if source == POLICY else PATCHES + source, "faked.py"))
    assert faked.artifacts["printed"].startswith("combined_score: 99")
    if source == POLICY:
        assert faked.metrics == honest.metrics
    else:  # its own cache is what it broke
        assert faked.metrics["combined_score"] <= 1 or faked.metrics == honest.metrics


def test_the_same_file_has_the_same_metrics(verifier, trace, write):
    path = write(RANKING)
    once, again = verifier.evaluate(path), Verifier([trace], buffers=("5",)).evaluate(path)
    assert once == again
    assert once.metrics == verifier.evaluate_hidden(path).metrics
    assert once.metrics["combined_score"] > 0
    assert list(once.metrics) == ["combined_score", f"speedup_{trace.stem}", "fetched_over_min", "hit_rate_remote"]
    assert len(once.artifacts["cells"].splitlines()) == 2


def test_the_first_stage_is_a_part(verifier, trace, write):
    early = verifier.evaluate_stage1(write(RANKING))
    twin = verifier.twin(trace).head(1)
    expected = measure(Candidate(write(RANKING)), twin, Cell(trace=trace.stem, buffer="5"))
    assert early.metrics["combined_score"] == speedup([expected])


def test_the_refused_have_the_least_score_and_a_reason(verifier, write):
    found = verifier.evaluate(write("print('here')\nopen('traces/debian.parquet')"))
    assert found.metrics == {"combined_score": 0.0}
    assert found.artifacts["refused"].startswith("raised: PermissionError")
    assert found.artifacts["refused"].endswith("(line 2)")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"inserted": "ids[[0, 0]]", "slots": "[0, 1]"}, "it names rows twice"),
        ({"inserted": "ids[:2]", "slots": "[1, 1]"}, "it names slots twice"),
        ({"inserted": "ids[:1]", "slots": "[5]"}, "it names slots from 5 to 5; there are 5"),
        ({"inserted": "[999]", "slots": "[0]"}, "it names rows from 999"),
        ({"inserted": "ids[:1]", "slots": "[]"}, "another number of rows"),
        ({"inserted": "ids", "slots": "[]", "held": "4"}, "contents\\(\\) has 4 slots"),
        ({"inserted": "np.sort(ids[:2])", "slots": "[self.now % 5, (self.now + 1) % 5]"}, "AttributeError"),
    ],
)
def test_answers_of_a_cache_that_can_not_be(bad, said, verifier, write):
    source = BAD_CACHE.format(**{"held": "self.capacity_rows"} | bad)
    found = verifier.evaluate(write(source)).artifacts["refused"]
    assert re.search(said, found), found


def test_what_ours_are_called():
    assert (Ours("lru").label, Ours("score", "every:8").label) == ("lru", "every:8 over score")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        Candidate(tmp_path / "nothing.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no text in UTF-8"):
        Candidate(tmp_path / "bytes.py")
