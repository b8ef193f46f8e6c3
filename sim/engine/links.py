"""Links as fluid: messages share every link of their path max-min fairly, and re-share when one starts or ends.

A link may carry a burst at once before its rate limits it (a token bucket, as `tc` shapes links). Of every connection
no more than a window stands in the queue of the link that limits it: what is shorter than that flows past the others,
but waits behind what stands there. Does not model packets, TCP's slow start or losses; protocol overhead is in the cost
model's `link_efficiency`.
"""

from __future__ import annotations

import math

import numpy as np

from sim.compiled import part
from sim.engine import parameters
from sim.engine.cores import EDGE_S, within
from sim.engine.event_heap import arrive_at
from sim.engine.layout import (
    BIN_S,
    BURST_BYTES,
    BYTES_PER_S,
    CHANGED,
    CROSSED,
    END,
    EXTRA_S,
    FACTOR,
    FLOWING,
    FULL,
    LEFT,
    LINK_SINCE,
    NEXT_DONE,
    RATE,
    REPEAT_S,
    SHARING,
    SINCE,
    SOURCE,
    SPARE,
    STANDING,
    START,
    TARGET,
    TOKENS,
    USED,
    WHAT,
    WHICH,
    WINDOW,
)

DONE_S = 1e-9
"""A flow that needs no longer than this is done: rounding must not cost it another event."""


@part
def send(message, source, target, size, least_s, extra_s, trips, held, now, c):  # type: ignore[no-untyped-def]
    """Put `size` bytes on the way, on which they are for `least_s` at least; they arrive `extra_s` later than they are
    through the links and the latency is over.

    It stands for `trips` messages that go that way one after another, each of them after an answer to the one before.
    And the end of a short one is `held` back so often, until its beginning has been acknowledged. Each way takes the
    latency, and waits in the links' queues if the message is short.
    """
    c.messages[message, SOURCE], c.messages[message, TARGET] = source, target
    short = size <= c.fixed[WINDOW]
    at_once, slowest_s = size, 0.0
    for hop in range(c.paths.shape[2]):
        link = c.paths[source, target, hop]
        if link >= 0:
            rate = rate_of(link, now, c)
            refill(link, rate, now, c)
            at_once = min(at_once, max(c.links[link, TOKENS], 0.0))
            short &= rate > 0.0  # a failed link lets nothing past
            slowest_s = max(slowest_s, (size - max(c.links[link, TOKENS], 0.0)) / rate)
    extra_s += max(least_s - max(slowest_s, 0.0), 0.0)
    if short:
        at_once = size
    for hop in range(c.paths.shape[2]):
        link = c.paths[source, target, hop]
        if link >= 0:
            c.links[link, TOKENS] -= at_once
            count(link, at_once, now, c)
    if short:
        due_s, back = now + slowest_s + extra_s, False
        ways = 2.0 * (trips + held) - 1.0
        while ways > 0.0:
            one, other = (target, source) if back else (source, target)
            due_s += min(ways, 1.0) * (c.latency_s[one, other] + standing_s(one, other, due_s, c))
            back, ways = not back, ways - 1.0
        arrive_at(message, due_s, c)
        return
    # a flow's waiting is its part of the rate
    extra_s += trips * c.latency_s[source, target] + (trips - 1.0) * c.latency_s[target, source]
    c.messages[message, LEFT], c.messages[message, RATE], c.messages[message, EXTRA_S] = size - at_once, 0.0, extra_s
    if not c.clock[CHANGED]:
        settle(now, c)
        c.clock[CHANGED] = 1.0
    c.flowing[int(c.clock[FLOWING])] = message
    c.clock[FLOWING] += 1


@part
def standing_s(source, target, at_s, c):  # type: ignore[no-untyped-def]
    """How long what then stands in the queues of a path takes to leave them, if flows go on as they do now."""
    waits_s, later_s = 0.0, at_s - c.clock[SINCE]
    for hop in range(c.paths.shape[2]):
        link = c.paths[source, target, hop]
        if link >= 0 and c.links[link, STANDING]:
            for i in range(int(c.links[link - 1, CROSSED]) if link else 0, int(c.links[link, CROSSED])):
                message = c.crossing[i]
                if c.messages[message, FULL] == link:
                    left = c.messages[message, LEFT] - c.messages[message, RATE] * later_s
                    waits_s += max(min(left, c.fixed[WINDOW]), 0.0) / c.links[link, BYTES_PER_S]
    return waits_s


@part
def rate_of(link, now, c):  # type: ignore[no-untyped-def]
    """Bytes a second that a link carries at `now`."""
    rate = c.links[link, BYTES_PER_S]
    for i in range(c.periods.shape[0]):
        if c.periods[i, WHAT] == parameters.LINK and c.periods[i, WHICH] == link and within(i, now, c):
            rate *= c.periods[i, FACTOR]
    return rate


@part
def refill(link, rate, now, c):  # type: ignore[no-untyped-def]
    """Bring a link's tokens up to date."""
    passed_s = now - c.links[link, LINK_SINCE]
    tokens = c.links[link, TOKENS] + (rate - c.links[link, USED]) * passed_s
    c.links[link, TOKENS] = min(tokens, c.links[link, BURST_BYTES])
    count(link, c.links[link, USED] * passed_s, now, c)
    c.links[link, LINK_SINCE] = now


@part
def count(which, amount, now, c):  # type: ignore[no-untyped-def]
    """Add up what a link has carried, or how long a host's servers have served."""
    last = c.used.shape[0] - 1
    if last >= 0:
        c.used[min(int(now / c.fixed[BIN_S]), last), which] += amount


@part
def settle(now, c):  # type: ignore[no-untyped-def]
    """Bring all flows up to date."""
    passed_s = now - c.clock[SINCE]
    for i in range(int(c.clock[FLOWING])):
        c.messages[c.flowing[i], LEFT] -= c.messages[c.flowing[i], RATE] * passed_s
    c.clock[SINCE] = now


@part
def by_link(flows, c):  # type: ignore[no-untyped-def]
    """List for every link the flows that cross it, in their order."""
    end = 0.0
    for link in range(c.links.shape[0]):
        c.links[link, CROSSED] = end  # where its list begins, until it is filled
        end += c.links[link, SHARING]
    for i in range(flows):
        message = c.flowing[i]
        source, target = int(c.messages[message, SOURCE]), int(c.messages[message, TARGET])
        for hop in range(c.paths.shape[2]):
            link = c.paths[source, target, hop]
            if link >= 0:
                c.crossing[int(c.links[link, CROSSED])] = message
                c.links[link, CROSSED] += 1.0


@part
def share(now, c):  # type: ignore[no-untyped-def]
    """Take out the flows that are done, and share the links anew among the others.

    Progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): raise all rates together until a link is full,
    fix the flows that cross it, go on with the rest.
    """
    settle(now, c)
    c.clock[CHANGED], c.clock[NEXT_DONE] = 0.0, np.inf
    links, hops = c.links.shape[0], c.paths.shape[2]
    for link in range(links):
        c.links[link, SPARE] = rate_of(link, now, c)
        refill(link, c.links[link, SPARE], now, c)
        c.links[link, USED] = c.links[link, STANDING] = c.links[link, SHARING] = 0.0
    flows = 0
    for i in range(int(c.clock[FLOWING])):
        message = c.flowing[i]
        if c.messages[message, LEFT] <= c.messages[message, RATE] * DONE_S:
            arrive_at(message, now + c.messages[message, EXTRA_S], c)
            continue
        c.messages[message, RATE] = -1.0
        c.flowing[flows] = message
        flows += 1
        source, target = int(c.messages[message, SOURCE]), int(c.messages[message, TARGET])
        for hop in range(hops):
            if c.paths[source, target, hop] >= 0:
                c.links[c.paths[source, target, hop], SHARING] += 1.0
    c.clock[FLOWING] = flows
    by_link(flows, c)
    unfixed = flows
    while unfixed:
        level, full = np.inf, -1
        for link in range(links):
            if c.links[link, SHARING] and c.links[link, SPARE] / c.links[link, SHARING] < level:
                level, full = c.links[link, SPARE] / c.links[link, SHARING], link
        for i in range(int(c.links[full - 1, CROSSED]) if full else 0, int(c.links[full, CROSSED])):
            message = c.crossing[i]
            if c.messages[message, RATE] >= 0.0:
                continue
            source, target = int(c.messages[message, SOURCE]), int(c.messages[message, TARGET])
            c.messages[message, RATE] = level
            unfixed -= 1
            c.messages[message, FULL] = full
            c.links[full, STANDING] += 1.0
            if level > 0.0:
                c.clock[NEXT_DONE] = min(c.clock[NEXT_DONE], now + c.messages[message, LEFT] / level)
            for hop in range(hops):
                link = c.paths[source, target, hop]
                if link >= 0:
                    c.links[link, SPARE] = max(c.links[link, SPARE] - level, 0.0)
                    c.links[link, SHARING] -= 1.0
                    c.links[link, USED] += level
    if flows:
        for i in range(c.periods.shape[0]):  # when a rate changes, links are shared anew
            for edge in (START, END):
                at, again_s = c.periods[i, edge], c.periods[i, REPEAT_S]
                passed_s = now + EDGE_S - at
                if passed_s >= 0.0 and again_s < np.inf:
                    at += (math.floor(passed_s / again_s) + 1.0) * again_s
                if at > now + EDGE_S:
                    c.clock[NEXT_DONE] = min(c.clock[NEXT_DONE], at)
