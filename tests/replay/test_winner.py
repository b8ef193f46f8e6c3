"""What benchmarks.winner lets run live, out of a search's table."""

from pathlib import Path

import polars as pl
import pytest

import benchmarks.winner_choice as winner_choice
from benchmarks.published import settings
from benchmarks.winner_choice import PUBLIC, PUBLIC_SLOW, SCORE, Captures, choose
from replay.grid import PolicyChoice
from sim import Twin

ROWS = [
    # cache, agent, buffer, universe, init, epoch_s_mean, error
    ("vip", "never", "25%", "remote", "degree", 5.0, None),
    ("vip", "never", "50%", "remote", "degree", 4.0, None),
    ("lru", "never", "25%", "remote", "degree", 1.0, "ValueError: it failed"),
    (SCORE, "every:2", "25%", "halo", "degree", 6.0, None),
    (SCORE, "every:4", "25%", "halo", "degree", 7.0, None),
    (SCORE, "every:4", "25%", "remote", "degree", 5.5, None),
    (SCORE, "partial:0.05", "25%", "halo", "degree", 5.1, None),
    (PUBLIC, "always", "25%", "halo", "degree", 5.1, None),
    (PUBLIC_SLOW, "every:32", "25%", "halo", "empty", 5.1, None),
]


def test_rivals_have_the_winners_buffer_and_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower of two by their mean epoch has the faster epochs after the first, which is what is measured; and the
    public rule is the best of what its code ships, not of what the search tried."""
    names = ["cache", "agent", "buffer", "universe", "init", "epoch_s_mean", "error"]
    table = pl.DataFrame(ROWS, schema=names, orient="row").with_columns(window=1, buffer_rows=9, run=pl.col("cache"))
    after_first = {"every:2": 6.5, "every:4": 6.4, "every:32": 5.0, "massivegnn:32": 6.1}
    best = PolicyChoice(agent="massivegnn:32", cache=PUBLIC_SLOW, buffer="25%", init="degree-global")

    def predict(captures: Captures, choice: PolicyChoice) -> dict[str, float]:
        worse = choice.cache not in (SCORE, best.cache) or choice.init not in ("degree", best.init)
        return {"predicted_epoch_s": after_first.get(choice.agent, 9.0) + worse}

    monkeypatch.setattr(winner_choice, "predict", predict)
    chosen = choose(table, "25%", Captures(Path(), Path()))
    assert chosen == {
        "winner": PolicyChoice(agent="never", cache="vip", buffer="25%", universe="remote"),
        "every:N": PolicyChoice(agent="every:4", cache=SCORE, buffer="25%"),
        "public rule": best,
    }


def test_every_published_setting_can_be_run(write_trace, minibatch) -> None:
    """Each gate goes with the period of its buffer, and each start is one; empty buffers that stay so are none."""
    trainers = [[[minibatch(list(range(first, first + 6))) for _ in range(4)]] for first in (10, 0)]
    twin, found = Twin.open(write_trace(trainers)), settings()
    assert len(found) == len(set(found)) == 62
    for one in found:
        run = twin.simulate(one.agent, cache=one.cache, init=one.init, buffer="50%", ahead=True)
        assert run.row["fetched_rows"] >= run.row["min_fetched_rows"]
    assert {one.init for one in found} == {"empty", "degree-global", "random"}
    assert ("never", "empty") not in {(one.agent, one.init) for one in found}
