"""A fluid model of links: flows share every link of their path max-min fairly; rates change when a flow starts or ends.

A link may carry a burst at once before its rate limits it (a token bucket, as `tc` shapes links). Each connection has
no more than a window of bytes in the queue of the link that limits it. A message that is shorter than a window flows
past the others, but waits behind what is in the queues. Does not model packets, TCP's slow start or losses; protocol
overhead is in the cost model's `link_efficiency`.
"""

from __future__ import annotations

import numpy as np

from sim.compiled import part
from sim.engine.event_heap import schedule
from sim.engine.parameters import LINK
from sim.engine.periods import in_period, next_edge_s

DONE_S = 1e-9
"""A flow that needs no longer than this is done, so that rounding causes no further event."""


@part
def post(message, source, target, size, min_s, extra_s, rounds, nagle_delays, links):  # type: ignore[no-untyped-def]
    """Have a message of `size` bytes sent at this instant. It arrives after max(transmission, `min_s`) + propagation +
    `extra_s`.

    It represents `rounds` messages in a row, each sent after the answer to the one before. The end of a short message
    waits `nagle_delays` times for an acknowledgement of its beginning.
    """
    flow, traffic = links.flows[message], links.traffic[0]
    flow.source, flow.target, flow.left_bytes = source, target, size
    flow.min_s, flow.extra_s, flow.rounds, flow.nagle_delays = min_s, extra_s, rounds, nagle_delays
    links.posted[traffic.posted] = message
    traffic.posted += 1


@part
def send_posted(now, links, events):  # type: ignore[no-untyped-def]
    """Start the messages that were posted."""
    for i in range(links.traffic[0].posted):
        send(links.posted[i], now, links, events)
    links.traffic[0].posted = 0


@part
def send(message, now, links, events):  # type: ignore[no-untyped-def]
    """Start a message. Each way takes the latency, and waits in the links' queues if the message is short."""
    flow = links.flows[message]
    path, latency_s, size = links.paths[flow.source, flow.target], links.latency_s, flow.left_bytes
    short = size <= links.window_bytes
    at_once, slowest_s = size, 0.0
    for hop in range(path.shape[0]):
        if path[hop] >= 0:
            link, rate = links.links[path[hop]], link_rate(path[hop], now, links)
            refill_bucket(path[hop], rate, now, links)
            bucket_bytes = max(link.bucket_bytes, 0.0) if rate > 0.0 else 0.0  # a failed link carries nothing
            at_once = min(at_once, bucket_bytes)
            short &= rate > 0.0
            slowest_s = max(slowest_s, (size - max(link.bucket_bytes, 0.0)) / rate)
    if short:
        at_once = size
    for hop in range(path.shape[0]):
        if path[hop] >= 0:
            links.links[path[hop]].bucket_bytes -= at_once
            record_use(path[hop], at_once, now, links.use)
    if short:
        at_s, back = now + slowest_s + (flow.extra_s + max(flow.min_s - slowest_s, 0.0)), False
        ways = 2.0 * (flow.rounds + flow.nagle_delays) - 1.0
        while ways > 0.0:
            source, target = (flow.target, flow.source) if back else (flow.source, flow.target)
            at_s += min(ways, 1.0) * (latency_s[source, target] + queueing_s(source, target, at_s, links))
            back, ways = not back, ways - 1.0
        schedule(message, at_s, events)
    else:  # a flow's rate includes its waiting
        there_s, back_s = latency_s[flow.source, flow.target], latency_s[flow.target, flow.source]
        flow.min_end_s = now + flow.min_s
        flow.extra_s += flow.rounds * there_s + (flow.rounds - 1.0) * back_s
        start_flow(message, size - at_once, now, links)


@part
def start_flow(message, left_bytes, now, links):  # type: ignore[no-untyped-def]
    """Put a message on the links, which are then to be shared anew."""
    traffic = links.traffic[0]
    links.flows[message].left_bytes, links.flows[message].bytes_per_s = left_bytes, 0.0
    if not traffic.stale:
        settle_flows(now, links)
        traffic.stale = True
    links.active[traffic.flows] = message
    traffic.flows += 1


@part
def queueing_s(source, target, at_s, links):  # type: ignore[no-untyped-def]
    """The time that the contents of a path's queues at `at_s` take to leave, if flows keep their rates.

    A failed link counts as if it worked, since it isn't known when it is back.
    """
    path, queued_s, later_s = links.paths[source, target], 0.0, at_s - links.traffic[0].settled_s
    for hop in range(path.shape[0]):
        if path[hop] >= 0 and links.links[path[hop]].bottlenecked_flows:
            rate = link_rate(path[hop], at_s, links)
            if rate == 0.0:
                rate = links.links[path[hop]].bytes_per_s
            for i in range(first_flow(path[hop], links), links.links[path[hop]].flows_end):
                flow = links.flows[links.by_link[i]]
                if flow.bottleneck == path[hop]:
                    left_bytes = flow.left_bytes - flow.bytes_per_s * later_s
                    queued_bytes = max(min(left_bytes, links.window_bytes), 0.0)
                    queued_s += queued_bytes / rate
    return queued_s


@part
def first_flow(link, links):  # type: ignore[no-untyped-def]
    """Where the flows that cross a link begin in `by_link`."""
    return links.links[link - 1].flows_end if link else 0


@part
def link_rate(link, now, links):  # type: ignore[no-untyped-def]
    """Bytes a second that a link carries at `now`."""
    rate = links.links[link].bytes_per_s
    for i in range(links.periods.shape[0]):
        period = links.periods[i]
        if period.what == LINK and period.which == link and in_period(period, now):
            rate *= period.factor
    return rate


@part
def refill_bucket(number, rate, now, links):  # type: ignore[no-untyped-def]
    """Bring up to date what a link may carry at once."""
    link = links.links[number]
    passed_s = now - link.settled_s
    link.bucket_bytes = min(link.bucket_bytes + (rate - link.used_bytes_per_s) * passed_s, link.burst_bytes)
    record_use(number, link.used_bytes_per_s * passed_s, now, links.use)
    link.settled_s = now


@part
def record_use(which, amount, now, use):  # type: ignore[no-untyped-def]
    """Add up what a link has carried, or how long a host's servers have served."""
    last = use.used.shape[0] - 1
    if last >= 0:
        use.used[min(int(now / use.bin_s), last), which] += amount


@part
def settle_flows(now, links):  # type: ignore[no-untyped-def]
    """Bring all flows up to date."""
    traffic = links.traffic[0]
    passed_s = now - traffic.settled_s
    for i in range(traffic.flows):
        flow = links.flows[links.active[i]]
        flow.left_bytes -= flow.bytes_per_s * passed_s
    traffic.settled_s = now


@part
def share_links(now, links, events):  # type: ignore[no-untyped-def]
    """Take out the flows that are done, and share the links anew among the others."""
    settle_flows(now, links)
    for number in range(links.links.shape[0]):
        link = links.links[number]
        link.residual_bytes_per_s = link_rate(number, now, links)
        refill_bucket(number, link.residual_bytes_per_s, now, links)
        link.used_bytes_per_s, link.bottlenecked_flows, link.active_flows = 0.0, 0, 0
    end_flows(now, links, events)
    list_flows(links)
    traffic = links.traffic[0]
    traffic.stale, traffic.next_change_s = False, np.inf
    if traffic.flows:
        traffic.next_change_s = next_edge_s(links.periods, now)  # when a rate changes, links are shared anew
        fill_links(now, links)


@part
def end_flows(now, links, events):  # type: ignore[no-untyped-def]
    """Take out the flows that are done, and count the others on their links."""
    flows, paths = 0, links.paths
    for i in range(links.traffic[0].flows):
        message = links.active[i]
        flow = links.flows[message]
        if flow.left_bytes <= flow.bytes_per_s * DONE_S:
            schedule(message, max(now, flow.min_end_s) + flow.extra_s, events)
            continue
        flow.bytes_per_s = -1.0  # until it is fixed
        links.active[flows] = message
        flows += 1
        for hop in range(paths.shape[2]):
            crossed = paths[flow.source, flow.target, hop]
            if crossed >= 0:
                links.links[crossed].active_flows += 1
    links.traffic[0].flows = flows


@part
def list_flows(links):  # type: ignore[no-untyped-def]
    """List for every link the flows that cross it, in the order in which they started."""
    end = 0
    for number in range(links.links.shape[0]):
        links.links[number].flows_end = end  # where its list begins, until it is filled
        end += links.links[number].active_flows
    for i in range(links.traffic[0].flows):
        flow = links.flows[links.active[i]]
        for hop in range(links.paths.shape[2]):
            crossed = links.paths[flow.source, flow.target, hop]
            if crossed >= 0:
                links.by_link[links.links[crossed].flows_end] = links.active[i]
                links.links[crossed].flows_end += 1


@part
def fill_links(now, links):  # type: ignore[no-untyped-def]
    """Give all flows their rates by progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): raise all rates
    together until a link is a bottleneck, fix the flows that cross it, go on with the rest."""
    traffic, paths = links.traffic[0], links.paths
    unfixed = traffic.flows
    while unfixed:
        level, bottleneck = np.inf, -1
        for number in range(links.links.shape[0]):
            link = links.links[number]
            if link.active_flows and link.residual_bytes_per_s / link.active_flows < level:
                level, bottleneck = link.residual_bytes_per_s / link.active_flows, number
        for i in range(first_flow(bottleneck, links), links.links[bottleneck].flows_end):
            flow = links.flows[links.by_link[i]]
            if flow.bytes_per_s >= 0.0:
                continue
            flow.bytes_per_s, flow.bottleneck = level, bottleneck
            unfixed -= 1
            links.links[bottleneck].bottlenecked_flows += 1
            if level > 0.0:
                traffic.next_change_s = min(traffic.next_change_s, now + flow.left_bytes / level)
            for hop in range(paths.shape[2]):
                crossed = paths[flow.source, flow.target, hop]
                if crossed >= 0:
                    link = links.links[crossed]
                    link.residual_bytes_per_s = max(link.residual_bytes_per_s - level, 0.0)
                    link.active_flows -= 1
                    link.used_bytes_per_s += level
