"""The published gates replace in the very minibatches in which their code would, and say where they can't."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.policy_driver import PolicyDriver
from agents.registry import resolve
from traces.errors import InputError

MINIBATCHES = 100
BUFFER = SimpleNamespace(occupied_rows=50, stale_rows=10, candidate_rows=30)


def replaced(text, run):
    """The minibatches of the run in which a policy, asked after each, replaces."""
    driver, found = PolicyDriver(resolve(text).make(), run, 0), []
    for minibatch in range(MINIBATCHES):
        decision = driver.take(minibatch)
        if decision is not None and decision.replace:
            found.append(minibatch)
        seen = driver.after(0, minibatch, BUFFER, remote_rows=100, halo_rows=80, hit_rows=40, replacement_rows=0)
        if seen is not None:
            driver.answer(driver.policy.decide(seen))
    return found


def by_counter(interval):
    """MassiveGNN's control flow: a counter goes up before each minibatch, and its multiples replace."""
    return [counter - 1 for counter in range(1, MINIBATCHES + 1) if counter % interval == 0]


def by_windows(interval):
    """Rudder's: an answer that waits is taken first; minibatches that don't replace go into the window, and a full one
    is answered with yes before the next minibatch."""
    window, answer, found = [], False, []
    for minibatch in range(MINIBATCHES):
        if answer:
            found.append(minibatch)
            answer = False
        else:
            window.append(minibatch)
        if len(window) == interval:
            window, answer = [], True
    return found


@pytest.mark.parametrize("interval", [2, 3, 25, 32])
def test_massivegnn_replaces_in_every_nth_minibatch(interval, make_run):
    run = make_run(cache=f"score-public:alpha=.005,period={interval}")
    found = replaced(f"massivegnn:{interval}", run)
    assert found == by_counter(interval)
    assert found[:3] == [interval - 1, 2 * interval - 1, 3 * interval - 1]


def test_massivegnn_leaves_out_the_minibatch_before_which_none_was_missed(make_run):
    assert replaced("massivegnn:1", make_run(cache="score-public:period=1")) == by_counter(1)[1:]


@pytest.mark.parametrize("interval", [1, 2, 25, 32])
def test_rudder_replaces_after_every_window_and_the_next_begins_after_that(interval, make_run):
    run = make_run(cache=f"score-public:.05,{interval}")
    found = replaced(f"rudder-every:{interval}", run)
    assert found == by_windows(interval)
    assert found[:3] == [interval, 2 * interval + 1, 3 * interval + 2]


def test_ours_replaces_one_minibatch_after_massivegnn(make_run):
    assert replaced("every:32", make_run()) == [32, 64, 96]


@pytest.mark.parametrize("gate", ["massivegnn:16", "rudder-every:16"])
@pytest.mark.parametrize(
    "cache", ["score-public", "score-public:alpha=.005", "score-public:period=32", "score", "score:.05,17"]
)
def test_a_buffer_of_another_period_is_refused(gate, cache, make_run):
    with pytest.raises(InputError, match=f"{gate} .* --cache {cache.partition(':')[0]}:period=16 and not {cache}$"):
        resolve(gate).make().reset(make_run(cache=cache), 0)


@pytest.mark.parametrize("cache", ["score-public:period=16", "score:alpha=.1,period=16", "frequency"])
def test_a_buffer_of_that_period_or_of_none_is_fine(cache, make_run):
    for gate in ("massivegnn:16", "rudder-every:16"):
        resolve(gate).make().reset(make_run(cache=cache), 0)


def test_rudders_classifiers_are_asked_after_every_minibatch_whatever_the_period(make_run):
    assert replaced("rudder-every:1", make_run(cache="score-public:period=25")) == by_windows(1)


@pytest.mark.parametrize("gate", ["massivegnn:16", "rudder-every:16"])
def test_a_longer_window_and_no_minibatches_are_refused(gate, make_run):
    with pytest.raises(InputError, match=f"{gate} can't be kept with a decision every 4 minibatches"):
        resolve(gate).make().reset(make_run(window=4, cache="score-public:period=16"), 0)
    with pytest.raises(InputError, match="must count at least 1 minibatch"):
        resolve(gate.replace("16", "0"))
