"""Max-min fair sharing against timelines by hand, and against an independent solver."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.cost import CostModel
from sim.network import (
    ANSWERING,
    HOST,
    OWNER,
    PULLS,
    SERVED,
    STAGE,
    TRAINER,
    WAITING,
    advance,
    flow,
    make_laws,
    make_state,
)
from sim.topology import links, star
from traces.errors import InputError

HOSTS = ("a", "b", "c", "d")


def finish_times(flows, latency_s=0.0, efficiency=1.0, rate=1000.0):
    """When each (start, source, target, bytes) is done, on a star of four hosts with links of `rate` bytes a second.

    Every flow is a response of its own trainer, put on the links by itself.
    """
    cost = CostModel(request_s=0.0, server_s_per_row=0.0, scatter_s_per_row=0.0, link_efficiency=efficiency)
    laws = make_laws(links(star(HOSTS, rate, latency_s), HOSTS), cost, feature_bytes=1)
    state, done = make_state(len(flows), len(HOSTS), servers_per_host=1), [0.0] * len(flows)

    def wait(until):
        while (arrival := advance(until, state, laws))[1] >= 0:
            done[arrival[1]] = arrival[0]

    for trainer, (start, source, target, size) in sorted(enumerate(flows), key=lambda one: one[1][0]):
        wait(start)
        pull = state.pulls[int(state.clock[PULLS])]
        pull[[STAGE, HOST, OWNER, TRAINER]] = SERVED, target, source, trainer
        flow(pull, size, start, state, laws)
        pull[STAGE] = ANSWERING
        state.clock[PULLS] += 1
        state.trainers[trainer, WAITING] = 1
    wait(np.inf)
    return done


def test_a_flow_alone_has_the_whole_link():
    assert finish_times([(0, 0, 1, 500)]) == pytest.approx([0.5])
    assert finish_times([(0, 0, 1, 500)], efficiency=0.5) == pytest.approx([1.0])
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


def test_a_flow_of_no_bytes_is_done_at_once():
    assert finish_times([(0.25, 0, 1, 0)]) == [0.25]


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


pairs = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(st.tuples(pairs, st.integers(1, 5000)), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_all_flows_end_when_an_exact_solver_says(flows):
    """Flows start together; the reference walks from one end to the next with exact fractions."""
    left = {number: Fraction(size) for number, (_, size) in enumerate(flows)}
    expected, now = [0.0] * len(flows), Fraction(0)
    while left:
        numbers = list(left)
        shares = rates([flows[number][0] for number in numbers], 1000)
        step = min(left[number] / share for number, share in zip(numbers, shares, strict=True))
        now += step
        for number, share in zip(numbers, shares, strict=True):
            left[number] -= share * step
            if left[number] == 0:
                expected[number] = float(now)
                del left[number]
    done = finish_times([(0, source, target, size) for (source, target), size in flows])
    assert np.allclose(done, expected, rtol=1e-9, atol=1e-6)


def test_clusters_that_cannot_be():
    with pytest.raises(InputError, match="rate must be above 0"):
        links(star(HOSTS, 0.0), HOSTS)
    with pytest.raises(InputError, match="no path from host a to host e"):
        links(star(HOSTS, 1.0), (*HOSTS, "e"))
