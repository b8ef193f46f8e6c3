"""Max-min fair sharing against timelines by hand, and against an independent solver."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.optimize import linprog

from sim.cluster.topology import links as routes_of
from sim.cluster.topology import star
from sim.engine import event_heap, links
from sim.engine.parameters import LINK, Period
from sim.engine.state import make_event_heap, make_links, make_periods
from traces.errors import InputError

HOSTS = ("a", "b", "c", "d")


@njit
def send(message, source, target, size, min_s, extra_s, rounds, nagle_delays, now, network, events):
    """Compiled parts can be called from compiled functions only."""
    links.post(message, source, target, size, min_s, extra_s, rounds, nagle_delays, network)
    links.send_posted(now, network, events)


@njit
def share(now, network, events):
    links.share_links(now, network, events)


@njit
def pop_event(events):
    return event_heap.pop_event(events)


def make_network(messages, rate=1000.0, latency_s=0.0, burst_bytes=0.0, window=0.0, periods=()):
    """Links alone, and a heap for what arrives."""
    routes = routes_of(star(HOSTS, rate, latency_s, burst_bytes), HOSTS)
    network = make_links(
        routes.bytes_per_s, routes.burst_bytes, routes.paths, routes.latency_s, window, messages, make_periods(periods)
    )
    return network, make_event_heap(messages)


def finish_times(flows, min_s=0.0, extra_s=0.0, rounds=1.0, nagle_delays=0.0, **options):
    """When each (start, source, target, bytes) is there, on a star of four hosts with links of 1000 bytes a second."""
    (network, events), done = make_network(len(flows), **options), [0.0] * len(flows)
    [traffic], [heap] = network.traffic, events.heap

    def wait(until):
        while True:
            flows_s = np.inf
            if traffic["flows"]:
                flows_s = traffic["settled_s"] if traffic["stale"] else traffic["next_change_s"]
            event_s = events.events["at_s"][0] if heap["events"] else np.inf
            if min(flows_s, event_s) >= until:
                return
            if event_s <= flows_s:
                done[pop_event(events)] = event_s
            else:
                share(float(flows_s), network, events)

    for number, (start, source, target, size) in sorted(enumerate(flows), key=lambda one: one[1][0]):
        wait(start)
        send(number, source, target, float(size), min_s, extra_s, rounds, nagle_delays, float(start), network, events)
    wait(np.inf)
    return done


pairs = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda pair: pair[0] != pair[1])


def test_a_flow_alone_has_the_whole_link():
    assert finish_times([(0, 0, 1, 500)]) == pytest.approx([0.5])
    assert finish_times([(0, 0, 1, 500)], rate=500.0) == pytest.approx([1.0])
    assert finish_times([(0, 0, 1, 500)], latency_s=0.01) == pytest.approx([0.52])


def test_flows_into_one_host_share_its_way_down():
    assert finish_times([(0, 0, 2, 500), (0, 1, 2, 500)]) == pytest.approx([1.0, 1.0])


def test_opposite_directions_do_not_meet():
    assert finish_times([(0, 0, 1, 500), (0, 1, 0, 500)]) == pytest.approx([0.5, 0.5])


def test_a_start_and_an_end_share_anew():
    """b's flow joins at .2 and leaves at .6; a's has 800 bytes left at .2, 600 at .6."""
    assert finish_times([(0, 0, 2, 1000), (0.2, 1, 2, 200)]) == pytest.approx([1.2, 0.6])


def test_what_one_flow_cannot_use_the_other_gets():
    """a sends to c and to d, b sends twice to c: 333 a second each into c, so 667 are left for a to d."""
    done = finish_times([(0, 0, 2, 1000 / 3), (0, 0, 3, 2000 / 3), (0, 1, 2, 1000 / 3), (0, 1, 2, 1000 / 3)])
    assert done == pytest.approx([1.0] * 4)


def test_a_message_within_a_host_crosses_no_link():
    assert finish_times([(0.25, 2, 2, 500)], extra_s=0.1) == [0.35]


def test_a_flow_of_no_bytes_is_done_at_once():
    assert finish_times([(0.25, 0, 1, 0)]) == [0.25]


def test_a_burst_goes_through_at_once_and_is_earned_again():
    """300 bytes at once and 200 at the rate; after .1 s of rest 100 bytes may go at once again."""
    assert finish_times([(0, 0, 1, 500), (0.3, 0, 1, 500)], burst_bytes=300.0) == pytest.approx([0.2, 0.7])


def test_a_short_message_waits_behind_what_stands_in_the_queue():
    """Two flows have 100 bytes each in c's queue: a message of 50 waits .2 s for them and takes .05 s itself."""
    done = finish_times([(0, 0, 2, 500), (0, 1, 2, 500), (0.2, 3, 2, 50)], window=100.0)
    assert done == pytest.approx([1.0, 1.0, 0.45])


def test_it_waits_no_longer_than_for_what_is_left_of_a_flow():
    """What 20 bytes take .02 s for is over when the flow has 30 bytes left, which all stand in the queue, or none."""
    assert finish_times([(0, 0, 2, 500), (0.45, 0, 1, 20)], window=100.0) == pytest.approx([0.5, 0.5])
    assert finish_times([(0, 0, 2, 500), (0.49, 0, 1, 20)], window=100.0) == pytest.approx([0.5, 0.51])


def test_only_the_end_of_a_short_message_is_held_back():
    """A way takes 20 ms: the short one goes there, back, and there again."""
    assert finish_times([(0, 0, 1, 50)], window=100.0, latency_s=0.01, nagle_delays=1.0) == pytest.approx([0.11])
    assert finish_times([(0, 0, 1, 500)], window=100.0, latency_s=0.01, nagle_delays=1.0) == pytest.approx([0.52])


def test_messages_that_stand_for_several_take_the_latency_there_and_back():
    for size in (50, 500):
        there = finish_times([(0, 0, 1, size)], window=100.0, latency_s=0.01, rounds=3.0)
        assert there == pytest.approx([size / 1000 + 5 * 0.02])


def test_a_message_takes_no_less_than_its_copying():
    assert finish_times([(0, 0, 1, 50)], window=100.0, min_s=0.2) == pytest.approx([0.2])
    assert finish_times([(0, 0, 1, 500)], window=100.0, min_s=0.7) == pytest.approx([0.7])
    assert finish_times([(0, 0, 1, 500)], window=100.0, min_s=0.4, extra_s=0.1) == pytest.approx([0.6])


@pytest.mark.parametrize(
    ("periods", "expected"),
    [
        ([(0.2, 0.4, 0.5)], 0.6),  # 200 bytes, then 100 in .2 s, then 200
        ([(0.2, 0.4, 0.0)], 0.7),  # a failed link that returns
        ([(0.1, 0.2, 0.0, 0.2)], 0.9),  # every second tenth: 500 bytes are through after the fifth good one
        ([(7.0, 8.0, 0.1)], 0.5),
    ],
)
def test_a_link_that_changes_its_rate(periods, expected):
    slow = [
        Period(start, end, factor, LINK, link, *again)
        for start, end, factor, *again in periods
        for link in range(len(star(HOSTS, 1.0).edges))
    ]
    assert finish_times([(0, 0, 1, 500)], periods=slow) == pytest.approx([expected])


def by_linear_programs(flows, capacity):
    """Max-min fair rates by linear programs: raise the smallest rate of all as far as it goes, fix the flows that can't
    have more, and go on with the others."""
    rows = sorted({("up", s) for s, _ in flows} | {("down", t) for _, t in flows})
    uses = np.array([[link in (("up", s), ("down", t)) for s, t in flows] for link in rows], float)
    fixed = {}

    def highest(raised):
        """The most that all flows of `raised` can have beyond the level of the others that are not fixed."""
        cost = np.zeros(len(flows) + 1)
        cost[-1] = -1.0
        less = np.zeros((len(flows), len(flows) + 1))
        for number in range(len(flows)):
            less[number, number] = -1.0
            less[number, -1] = float(number in raised)
        floor = np.array([-fixed.get(number, 0.0) * (number not in raised) for number in range(len(flows))])
        for number in set(range(len(flows))) - set(fixed) - set(raised):
            floor[number] = -level
        found = linprog(
            cost, np.vstack([np.hstack([uses, np.zeros((len(rows), 1))]), less]),
            np.concatenate([np.full(len(rows), capacity), floor]),
        )  # fmt: skip
        return -found.fun

    level = 0.0
    while len(fixed) < len(flows):
        free = [number for number in range(len(flows)) if number not in fixed]
        level = highest(free)
        stuck = [number for number in free if highest([number]) < level + 1e-6]
        fixed |= dict.fromkeys(stuck, level)
    return [fixed[number] for number in range(len(flows))]


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_rates_are_those_of_linear_programs(data):
    flows = data.draw(st.lists(pairs, min_size=1, max_size=8))
    network, events = make_network(len(flows))
    for number, (source, target) in enumerate(flows):
        send(number, source, target, 1e6, 0.0, 0.0, 1.0, 0.0, 0.0, network, events)
    share(0.0, network, events)
    assert network.flows["bytes_per_s"] == pytest.approx(by_linear_programs(flows, 1000.0))


def rates(flows, capacity):
    """Max-min fair rates by the bottleneck definition, in exact fractions: (source, target) pairs on a star."""
    left, spare = dict(enumerate(flows)), {}
    for source, target in flows:
        spare[("up", source)] = spare[("down", target)] = Fraction(capacity)
    found = {}
    while left:
        users = {link: [f for f, (s, t) in left.items() if link in (("up", s), ("down", t))] for link in spare}
        share, link = min((spare[link] / len(those), link) for link, those in users.items() if those)
        for number in users[link]:
            source, target = left.pop(number)
            found[number] = share
            spare[("up", source)] -= share
            spare[("down", target)] -= share
    return [found[number] for number in range(len(flows))]


def test_copying_goes_on_while_flows_share_a_link():
    """Both share c's way down for 1 s, beside which .7 s of copying are no delay, and 1.2 s are one of .2 s."""
    both = [(0, 0, 2, 500), (0, 1, 2, 500)]
    assert finish_times(both, min_s=0.7) == pytest.approx([1.0, 1.0])
    assert finish_times(both, min_s=1.2, extra_s=0.1) == pytest.approx([1.3, 1.3])


def test_a_failed_link_lets_no_burst_through():
    """All 500 bytes wait until the link is back at .2 s."""
    failed = [Period(0.0, 0.2, 0.0, LINK, link) for link in range(len(star(HOSTS, 1.0).edges))]
    assert finish_times([(0.1, 0, 1, 500)], burst_bytes=800.0, periods=failed) == pytest.approx([0.7])


@given(st.lists(st.tuples(pairs, st.integers(1, 5000)), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_all_flows_end_when_an_exact_solver_says(flows):
    """Flows start together; the reference walks from one end to the next with exact fractions."""
    left = {number: Fraction(size) for number, (_, size) in enumerate(flows)}
    expected, now = [0.0] * len(flows), Fraction(0)
    while left:
        numbers = list(left)
        shares = rates([flows[number][0] for number in numbers], 1000)
        step = min(left[number] / rate for number, rate in zip(numbers, shares, strict=True))
        now += step
        for number, rate in zip(numbers, shares, strict=True):
            left[number] -= rate * step
            if left[number] == 0:
                expected[number] = float(now)
                del left[number]
    done = finish_times([(0, source, target, size) for (source, target), size in flows])
    assert np.allclose(done, expected, rtol=1e-9, atol=1e-6)


def test_clusters_that_cannot_be():
    with pytest.raises(InputError, match="rate must be above 0"):
        routes_of(star(HOSTS, 0.0), HOSTS)
    with pytest.raises(InputError, match="no path from host a to host e"):
        routes_of(star(HOSTS, 1.0), (*HOSTS, "e"))
