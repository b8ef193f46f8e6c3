"""Events come out in time, and those of one instant as they were scheduled."""

from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sim.engine import event_heap
from sim.engine.state import make_event_heap


@njit
def schedule(number, at_s, events):
    """Compiled parts can be called from compiled functions only."""
    event_heap.schedule(number, at_s, events)


@njit
def pop_event(events):
    return event_heap.pop_event(events)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_events_come_in_time_and_together_in_the_order_in_which_they_were_scheduled(scheduled):
    """Some come out, at the latest then, whenever one has been scheduled."""
    events, waiting, expected, found = make_event_heap(len(scheduled)), [], [], []
    for number, (at_s, one_comes) in enumerate(scheduled):
        schedule(number, float(at_s), events)
        waiting.append((at_s, number))
        if one_comes:
            expected.append(min(waiting)[1])
            waiting.remove(min(waiting))
            found.append(pop_event(events))
    found += [pop_event(events) for _ in waiting]
    assert found == expected + [number for _, number in sorted(waiting)]
