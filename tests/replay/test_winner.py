"""What benchmarks.winner lets run live, out of a search's table."""

from pathlib import Path

import polars as pl
import pytest

import benchmarks.winner_choice as winner_choice
from benchmarks.winner_choice import PUBLIC, PUBLIC_SLOW, SCORE, Captures, choose
from replay.grid import PolicyChoice

ROWS = [
    # cache, agent, buffer, universe, init, epoch_s_mean, error
    ("vip", "never", "25%", "remote", "degree", 5.0, None),
    ("vip", "never", "50%", "remote", "degree", 4.0, None),
    ("lru", "never", "25%", "remote", "degree", 1.0, "ValueError: it failed"),
    (SCORE, "every:2", "25%", "halo", "degree", 6.0, None),
    (SCORE, "every:4", "25%", "halo", "degree", 7.0, None),
    (SCORE, "every:4", "25%", "remote", "degree", 5.5, None),
    (SCORE, "partial:0.05", "25%", "halo", "degree", 5.1, None),
    (PUBLIC, "always", "25%", "halo", "degree", 6.0, None),
    (PUBLIC, "every:32", "25%", "halo", "degree", 5.2, None),
    (PUBLIC_SLOW, "every:32", "25%", "halo", "empty", 7.0, None),
]


def test_rivals_have_the_winners_buffer_and_what_was_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower of two by their mean epoch has the faster epochs after the first, which is what is measured."""
    names = ["cache", "agent", "buffer", "universe", "init", "epoch_s_mean", "error"]
    table = pl.DataFrame(ROWS, schema=names, orient="row").with_columns(window=1, buffer_rows=9, run=pl.col("cache"))
    after_first = {"every:2": 6.5, "every:4": 6.4, "always": 6.2, "every:32": 6.1}
    monkeypatch.setattr(
        winner_choice, "predict", lambda captures, choice: {"predicted_epoch_s": after_first[choice.agent]}
    )
    chosen = choose(table, "25%", Captures(Path(), Path()))
    assert chosen == {
        "winner": PolicyChoice(agent="never", cache="vip", buffer="25%", universe="remote"),
        "every:N": PolicyChoice(agent="every:4", cache=SCORE, buffer="25%"),
        "public rule": PolicyChoice(agent="every:32", cache=PUBLIC_SLOW, buffer="25%", init="empty"),
    }
