"""Fair sharing in the reference engine: cores of hosts among jobs, and links among messages.

Cores are a processor-sharing resource. With C cores and jobs that keep n busy, each job runs at min(1, C / n) of its
speed. A pool has a virtual clock that goes on at this pace, and a job that starts now ends when the virtual clock has
gone on by its demand (Parekh and Gallager, 1993): a start or an end changes the pace, and nothing else.

Messages are flows that share links max-min fairly. A link may carry a burst at once before its rate limits it (a token
bucket, as `tc` shapes links). Each connection has at most a window of bytes in the queue of the link that limits it. A
message shorter than a window takes no share of links, but waits behind the queues' contents. Does not model packets,
TCP's slow start or losses; protocol overhead is in the rates.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import Any

import simpy

from sim.engine.environment import EngineEnvironment
from sim.engine.links import DONE_S
from sim.engine.parameters import LINK, EngineParameters, Period

GIVEN, REQUESTED, UNBLOCKED, BEGUN, ARRIVAL, JOB_END = range(2, 8)
SHARING = math.inf
"""Priorities of events at one instant: rules 2 to 7 of the tie rule (`sim.engine.engine`), and rule 8. SimPy's own
events (rule 1) have 0 and 1; the end of a job in pool p has `JOB_END` + p."""


class Pool:
    """Cores that the threads of a host share, or those of all hosts that are one machine."""

    def __init__(self, env: EngineEnvironment, number: int, cores: float) -> None:
        self.cores, self.busy = cores, 0.0
        self._env, self._priority, self._next_end = env, JOB_END + number, env.event()
        self._jobs: list[tuple[float, float, simpy.Event]] = []  # ends on the virtual clock, cores, what then happens
        self._virtual_s, self._since_s = 0.0, 0.0  # the virtual clock, and the instant at which it was read

    def start(self, demand_s: float, cores: float) -> simpy.Event:
        """Start a job of `demand_s` that keeps `cores` busy. Returns the event of its end."""
        done = self._env.event()
        self._virtual_s += (self._env.now - self._since_s) * self._pace()
        self._since_s = self._env.now
        # jobs that end together end as they began
        insort(self._jobs, (self._virtual_s + demand_s, cores, done), key=lambda job: job[0])
        self.busy += cores
        self._plan()
        return done

    def _end_first(self, event: simpy.Event) -> None:
        if event is self._next_end:  # else jobs have started or ended since this was planned
            self._virtual_s, cores, done = self._jobs.pop(0)
            self._since_s = self._env.now
            self.busy -= cores
            self._plan()
            done.succeed()

    def _plan(self) -> None:
        if self._jobs:
            left_s = max(self._jobs[0][0] - self._virtual_s, 0.0)
            self._next_end = self._env.at(self._since_s + left_s / self._pace(), self._priority, self._end_first)

    def _pace(self) -> float:
        """The share of a core that each job has."""
        return min(1.0, self.cores / max(self.busy, 1e-9))


@dataclass(slots=True, eq=False)
class Flow:
    """A message under way. Transmission ends with its last byte, not before `min_end_s`; it arrives `extra_s` later."""

    content: Any
    inbox: simpy.Store
    path: list[Link]
    left_bytes: float
    min_end_s: float
    extra_s: float
    bytes_per_s: float = 0.0


@dataclass(slots=True, eq=False)
class Link:
    """A token bucket, and the flows that it limits. `tokens` are bytes that it may carry at once; below 0: a debt."""

    bytes_per_s: float
    burst_bytes: float
    periods: list[Period]
    tokens: float
    used_bytes_per_s: float = 0.0
    since_s: float = 0.0
    bottlenecked_flows: list[Flow] = field(default_factory=list)

    def rate(self, now: float) -> float:
        """The link's rate at `now`, in bytes a second."""
        return math.prod((one.factor for one in self.periods if one.holds(now)), start=self.bytes_per_s)

    def refill(self, now: float) -> None:
        """Bring the tokens up to date."""
        tokens = self.tokens + (self.rate(now) - self.used_bytes_per_s) * (now - self.since_s)
        self.tokens, self.since_s = min(tokens, self.burst_bytes), now


class Links:
    """All links, and what flows on them. `latency_s` is from host to host."""

    def __init__(self, env: EngineEnvironment, parameters: EngineParameters) -> None:
        self.env, self._window_bytes, self._periods = env, parameters.window_bytes, parameters.periods
        rates, bursts = parameters.link_bytes_per_s.tolist(), parameters.link_burst_bytes.tolist()
        self._links = [
            Link(rate, burst, [one for one in self._periods if (one.what, one.which) == (LINK, number)], burst)
            for number, (rate, burst) in enumerate(zip(rates, bursts, strict=True))
        ]
        paths = parameters.paths.tolist()
        self._paths = [[[self._links[hop] for hop in path if hop >= 0] for path in of_source] for of_source in paths]
        self.latency_s, self._nagle_delays = parameters.latency_s.tolist(), parameters.nagle_delays
        self._flows: list[Flow] = []
        self._since_s, self._next_sharing = 0.0, env.event()  # until when flows are settled, and when they change

    def send(
        self, content: Any, inbox: simpy.Store, source: int, target: int, size_bytes: float,
        *, min_s: float = 0.0, extra_s: float = 0.0, messages: float = 1.0, in_pieces: bool = True,
    ) -> None:  # fmt: skip
        """Start a message. It arrives after max(transmission, `min_s`) + propagation + `extra_s`.

        It represents `messages` in a row, each sent after the answer to the one before. The end of a short one that is
        written `in_pieces` waits `nagle_delays` times for an acknowledgement. Each way takes the latency, and a short
        message waits in the queues of its path.
        """
        path, now = self._paths[source][target], self.env.now
        is_short, at_once_bytes, transmission_s = size_bytes <= self._window_bytes, size_bytes, 0.0
        for link in path:
            link.refill(now)
            tokens, rate = max(link.tokens, 0.0), link.rate(now)
            at_once_bytes = min(at_once_bytes, tokens) if rate else 0.0  # a failed link carries nothing
            is_short = is_short and rate > 0.0
            if size_bytes > tokens:
                transmission_s = max(transmission_s, (size_bytes - tokens) / rate if rate else math.inf)
        for link in path:
            link.tokens -= size_bytes if is_short else at_once_bytes
        if is_short:
            arrives_s = now + transmission_s + (extra_s + max(min_s - transmission_s, 0.0))
            ways = 2.0 * (messages + (self._nagle_delays if in_pieces else 0.0)) - 1.0
            while ways > 0.0:
                way_s = self.latency_s[source][target] + self.queueing_s(source, target, arrives_s)
                arrives_s += min(ways, 1.0) * way_s
                source, target, ways = target, source, ways - 1.0
            self.deliver(content, inbox, arrives_s)
            return
        # a flow's rate includes its waiting in queues
        extra_s += messages * self.latency_s[source][target] + (messages - 1.0) * self.latency_s[target][source]
        self._settle()
        self._next_sharing = self.env.at(now, SHARING, self._share)
        self._flows.append(Flow(content, inbox, path, size_bytes - at_once_bytes, now + min_s, extra_s))

    def deliver(self, content: Any, inbox: simpy.Store, at_s: float) -> None:
        """Let something arrive at `at_s`."""
        self.env.at(at_s, ARRIVAL, lambda _: inbox.put(content))

    def queueing_s(self, source: int, target: int, at_s: float) -> float:
        """The time until the queues of a path at `at_s` are empty. A failed link counts as if it worked."""
        queueing_s = 0.0
        for link in self._paths[source][target]:
            for flow in link.bottlenecked_flows:
                left_bytes = flow.left_bytes - flow.bytes_per_s * (at_s - self._since_s)
                queueing_s += max(min(left_bytes, self._window_bytes), 0.0) / (link.rate(at_s) or link.bytes_per_s)
        return queueing_s

    def _settle(self) -> None:
        """Bring all flows up to date."""
        for flow in self._flows:
            flow.left_bytes -= flow.bytes_per_s * (self.env.now - self._since_s)
        self._since_s = self.env.now

    def _share(self, event: simpy.Event) -> None:
        """Take out the flows that are done, and share the links anew among the others."""
        if event is not self._next_sharing:
            return  # flows have started since this was planned
        self._settle()
        now, done = self.env.now, [flow for flow in self._flows if flow.left_bytes <= flow.bytes_per_s * DONE_S]
        for flow in done:
            self._flows.remove(flow)
            self.deliver(flow.content, flow.inbox, max(now, flow.min_end_s) + flow.extra_s)
        share_max_min(self._flows, self._links, now)
        ends_s = [now + flow.left_bytes / flow.bytes_per_s for flow in self._flows if flow.bytes_per_s > 0.0]
        edges_s = [edge_s for period in self._periods for edge_s in period.next_edges(now)] if self._flows else []
        if ends_s or edges_s:
            self._next_sharing = self.env.at(min(ends_s + edges_s), SHARING, self._share)


def share_max_min(flows: list[Flow], links: list[Link], now: float) -> None:
    """Give every flow its max-min fair rate at `now`.

    Progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): raise all rates together until a link is full,
    the bottleneck of those flows across it that are still raised; fix these, and go on with the rest.
    """
    for link in links:
        link.refill(now)
        link.used_bytes_per_s, link.bottlenecked_flows = 0.0, []
    residual, active_flows, raised = {link: link.rate(now) for link in links}, dict.fromkeys(links, 0), flows
    for link in (link for flow in flows for link in flow.path):
        active_flows[link] += 1
    while raised:
        levels = {link: residual[link] / count for link, count in active_flows.items() if count}
        full = min(levels, key=levels.__getitem__)
        full.bottlenecked_flows = [flow for flow in raised if full in flow.path]
        raised = [flow for flow in raised if full not in flow.path]
        for flow in full.bottlenecked_flows:
            flow.bytes_per_s = levels[full]
            for link in flow.path:
                residual[link] = max(residual[link] - levels[full], 0.0)
                active_flows[link] -= 1
                link.used_bytes_per_s += levels[full]
