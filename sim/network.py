"""Links as fluid: flows share every link of their path max-min fairly, and re-share when one starts or ends.

Does not model packets, TCP's slow start or losses; protocol overhead is in the cost model's `link_efficiency`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import simpy
from numba import njit
from numpy.typing import NDArray

from sim.topology import Links

DONE_S = 1e-9
"""A flow that needs no longer than this is done: rounding must not cost it another event."""


class Network:
    """The flows under way on the links of a topology, in a SimPy environment."""

    def __init__(self, env: simpy.Environment, links: Links, efficiency: float) -> None:
        self._env, self._links = env, links
        self._capacity = links.bytes_per_s * efficiency
        room = 4 * len(links.latency_s) ** 2
        self._left = np.zeros(room)
        self._rate = np.zeros(room)
        self._path = np.full((room, links.paths.shape[2]), -1, np.int32)
        self._active = np.zeros(room, np.int32)
        self._finished = np.zeros(room, np.int32)
        self._spare = np.zeros_like(self._capacity)
        self._sharing = np.zeros(len(self._capacity), np.int32)
        self._count = 0
        self._free = list(range(room))[::-1]
        self._then: list[Callable[[], None] | None] = [None] * room
        self._latency_s = [0.0] * room
        self._since = 0.0
        self._wake: simpy.Event | None = None
        self._changed = False

    def transfer(self, source: int, target: int, size: float, then: Callable[[], None]) -> None:
        """Send `size` bytes from a host to another one; `then` is called when the last byte has arrived."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._left[slot], self._path[slot], self._then[slot] = size, self._links.paths[source, target], then
        self._rate[slot], self._latency_s[slot] = 0.0, float(self._links.latency_s[source, target])
        self._active[self._count] = slot
        self._count += 1
        if not self._changed:  # flows that start together re-share once
            self._changed = True
            self._schedule(0.0)

    def _schedule(self, delay_s: float) -> None:
        self._wake = self._env.timeout(delay_s)
        self._wake.callbacks.append(self._share)

    def _share(self, event: simpy.Event) -> None:
        if event is not self._wake:
            return  # the flows changed since, and a later event took this one's place
        self._changed = False
        now = self._env.now
        finished, self._count, next_s = share(
            now - self._since,
            self._count,
            self._active,
            self._left,
            self._rate,
            self._path,
            self._capacity,
            self._spare,
            self._sharing,
            self._finished,
        )
        self._since = now
        if self._count:
            self._schedule(next_s)
        for slot in self._finished[:finished].tolist():
            then = self._then[slot]
            assert then is not None
            self._free.append(slot)
            if latency_s := self._latency_s[slot]:
                self._env.timeout(latency_s).callbacks.append(lambda _, then=then: then())
            else:
                then()

    def _grow(self) -> None:
        room = len(self._left)
        for name in ("_left", "_rate", "_path", "_active", "_finished"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self._free.extend(range(room, 2 * room))
        self._then.extend([None] * room)
        self._latency_s.extend([0.0] * room)


@njit(cache=True)
def share(  # type: ignore[no-untyped-def]
    elapsed_s: float,
    count: int,
    active: NDArray[np.int32],
    left: NDArray[np.float64],
    rate: NDArray[np.float64],
    path: NDArray[np.int32],
    capacity: NDArray[np.float64],
    spare: NDArray[np.float64],
    sharing: NDArray[np.int32],
    finished: NDArray[np.int32],
):
    """Let `elapsed_s` pass, take out the flows that are done, and share the links anew among the others.

    Progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): raise all rates together until a link is full,
    fix the flows that cross it, go on with the rest. Returns how many flows finished (their slots are in `finished`),
    how many are left, and the seconds until the next one is done.
    """
    ended, kept = 0, 0
    for i in range(count):
        slot = active[i]
        left[slot] -= rate[slot] * elapsed_s
        if left[slot] <= rate[slot] * DONE_S:
            finished[ended] = slot
            ended += 1
        else:
            active[kept] = slot
            kept += 1
    spare[:] = capacity
    sharing[:] = 0
    for i in range(kept):
        rate[active[i]] = -1.0
        for link in path[active[i]]:
            if link >= 0:
                sharing[link] += 1
    unfixed = kept
    while unfixed:
        level, full = np.inf, -1
        for link in range(len(capacity)):
            if sharing[link] and spare[link] / sharing[link] < level:
                level, full = spare[link] / sharing[link], link
        for i in range(kept):
            slot = active[i]
            if rate[slot] >= 0.0:
                continue
            crosses = False
            for link in path[slot]:
                crosses = crosses or link == full
            if crosses:
                rate[slot] = level
                unfixed -= 1
                for link in path[slot]:
                    if link >= 0:
                        spare[link] = max(spare[link] - level, 0.0)
                        sharing[link] -= 1
    next_s = np.inf
    for i in range(kept):
        next_s = min(next_s, left[active[i]] / rate[active[i]])
    return ended, kept, next_s
