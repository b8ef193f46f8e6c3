"""Which way of asking stays, and what is said where none does."""

from __future__ import annotations

import pytest
from model_server import GOOD

from agents.llm import probe
from agents.llm.probe import NoWay, find_way
from agents.llm.provider import Declined, Reply, ServerError


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, but for what a test adds to `clock[0]`."""
    now = [0.0]
    monkeypatch.setattr(probe, "perf_counter", lambda: now[0])
    return now


def test_the_first_way_that_brings_a_usable_answer_stays():
    asked = []

    def ask(way, question):
        asked.append(way)
        if way == "declined":
            raise Declined("no", 400)
        if way == "fails":
            raise ServerError("broken")
        return Reply(text="prose" if way == "prose" else GOOD)

    assert find_way(["declined", "fails", "prose", "good", "better"], ask, 1.0) == "good"
    assert asked == ["declined", "fails", "prose", "good"]


def test_where_none_does_each_kind_of_answer_is_counted_and_shown():
    def ask(way, question):
        if way == "declined":
            raise Declined("no \x1b[2J schema", 400)
        return Reply(text=way)

    with pytest.raises(NoWay) as error:
        find_way(["one", "two", "declined"], ask, 1.0)
    assert str(error.value) == (
        "no usable answer in 3 ways of asking: invalid in 2 (unusable answer: one); refused in 1 (the server says: no "
        "[2J schema)"
    )


def test_an_answer_that_was_slow_once_is_asked_for_again(clock):
    waits = [9.0, 0.5]

    def ask(way, question):
        clock[0] += waits.pop(0)
        return Reply(text=GOOD)

    assert find_way(["way"], ask, 1.0) == "way"


def test_answers_that_are_slow_twice_are_too_slow(clock):
    def ask(way, question):
        clock[0] += 9.0
        return Reply(text=GOOD)

    with pytest.raises(NoWay, match=r"an answer takes 9\.0 s, longer than 1 s: give more with --timeout-s"):
        find_way(["way", "another"], ask, 1.0)


def test_what_else_goes_wrong_goes_on():
    def ask(way, question):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        find_way(["way"], ask, 1.0)
