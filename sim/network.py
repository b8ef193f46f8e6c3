"""What pulls do between the request and the last row: links as fluid, servers as queues, responses put in place.

A *pull* is what one trainer fetches from one owner. Its request crosses the links, waits at the owner's servers, is
served, and its response crosses the links back. Flows share every link of their path max-min fairly, and re-share when
one starts or ends. Does not model packets, TCP's slow start or losses; protocol overhead is in the cost model's
`link_efficiency`.

These are compiled functions over arrays, because a run has a dozen of such events for every minibatch of every trainer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.cost import ID_BYTES, CostModel
from sim.topology import Links

DONE_S = 1e-9
"""A flow that needs no longer than this is done: rounding must not cost it another event."""

STAGE, LEFT, RATE, DUE, ROWS, HOST, OWNER, TRAINER = range(8)
"""A pull's record: where it stands, bytes left and their rate while it flows, the time of its next stage otherwise."""

SENDING, ASKING, ASKED, SERVED, ANSWERING, ANSWERED = range(6)
"""Stages: waits to be sent; request flows; its latency; is being served; response flows; its latency."""

PULLS, SINCE, NEXT_DONE, CHANGED = range(4)
"""The clock's fields: how many pulls there are, when flows were last brought up to date, when one is done next, and
whether (1.0) one started since. A change of the links' rates counts as a flow that is done."""

WAITING, FREE_AT = range(2)
"""A trainer's record: pulls that it still waits for, and until when it is busy putting rows in place."""


class State(NamedTuple):
    """What changes: `clock` (4,), `pulls` (room, 8), `trainers` (trainers, 2), and when each of a host's `servers`
    (hosts, servers) is free."""

    clock: NDArray[np.float64]
    pulls: NDArray[np.float64]
    trainers: NDArray[np.float64]
    servers: NDArray[np.float64]


class Laws(NamedTuple):
    """What does not change: `paths`, `latency_s` and rates of the links, and costs a row and a fetch.

    `congestion` (periods, 3) says when all links carry only a part of their rate: start and end in seconds, and which.
    """

    paths: NDArray[np.int32]
    latency_s: NDArray[np.float64]
    bytes_per_s: NDArray[np.float64]
    feature_bytes: float
    request_s: float
    server_s_per_row: float
    scatter_s_per_row: float
    congestion: NDArray[np.float64]


def make_state(trainers: int, hosts: int, servers_per_host: int) -> State:
    """Nothing under way."""
    return State(
        clock=np.zeros(4),
        pulls=np.zeros((trainers * hosts, 8)),
        trainers=np.zeros((trainers, 2)),
        servers=np.zeros((hosts, servers_per_host)),
    )


def make_laws(
    links: Links, cost: CostModel, feature_bytes: int, congestion: tuple[tuple[float, float, float], ...] = ()
) -> Laws:
    """A topology and a cost model, for rows of `feature_bytes`, and the periods of congestion."""
    return Laws(
        links.paths,
        links.latency_s,
        links.bytes_per_s * cost.link_efficiency,
        float(feature_bytes),
        cost.request_s,
        cost.server_s_per_row,
        cost.scatter_s_per_row,
        np.array(congestion, np.float64).reshape(-1, 3),
    )


@njit(cache=True, nogil=True)
def begin(now, trainer, host, rows_by_owner, gather_s, state, laws):  # type: ignore[no-untyped-def]
    """Start a fetch of `rows_by_owner` rows at `now`. Returns when the next fetch of any trainer will have arrived."""
    advance(now, state, laws)
    sent_at = now + laws.request_s
    state.trainers[trainer, FREE_AT] = sent_at + gather_s
    for owner in range(len(rows_by_owner)):
        if rows_by_owner[owner]:
            pull = state.pulls[int(state.clock[PULLS])]
            pull[STAGE], pull[DUE], pull[ROWS] = SENDING, sent_at, rows_by_owner[owner]
            pull[HOST], pull[OWNER], pull[TRAINER] = host, owner, trainer
            state.clock[PULLS] += 1
            state.trainers[trainer, WAITING] += 1
    return ahead(state, laws)


@njit(cache=True, nogil=True)
def arrive(state, laws):  # type: ignore[no-untyped-def]
    """Let the next fetch arrive. Returns whose it is, when its rows are in place, and when the next will arrive."""
    arrived_at, trainer = advance(np.inf, state, laws)
    in_place = arrived_at + (state.trainers[trainer, FREE_AT] - arrived_at)
    return trainer, in_place, ahead(state, laws)


@njit(cache=True, nogil=True)
def ahead(state, laws):  # type: ignore[no-untyped-def]
    """When the next fetch will have arrived if no other starts before; infinity where none is under way."""
    count = int(state.clock[PULLS])
    if count == 0:
        return np.inf
    copy = State(state.clock.copy(), state.pulls[:count].copy(), state.trainers.copy(), state.servers.copy())
    return advance(np.inf, copy, laws)[0]


@njit(cache=True, nogil=True)
def advance(until, state, laws):  # type: ignore[no-untyped-def]
    """Let happen all that happens before `until`, or up to the first arrival of a whole fetch.

    Returns when that was and whose it is, or `until` and -1.
    """
    clock, pulls = state.clock, state.pulls
    while clock[PULLS]:
        due, first = np.inf, -1
        for i in range(int(clock[PULLS])):
            stage = pulls[i, STAGE]
            if stage != ASKING and stage != ANSWERING and pulls[i, DUE] < due:
                due, first = pulls[i, DUE], i
        flows_at = clock[SINCE] if clock[CHANGED] else clock[NEXT_DONE]
        if min(due, flows_at) >= until:
            break
        if due <= flows_at:
            trainer = pass_on(first, due, state, laws)
            if trainer >= 0:
                return due, trainer
        else:
            share(flows_at, state, laws)
    return until, -1


@njit(cache=True, nogil=True)
def pass_on(i, now, state, laws):  # type: ignore[no-untyped-def]
    """Take pull `i` into its next stage. Returns the trainer whose fetch has thereby arrived, or -1."""
    clock, pull = state.clock, state.pulls[i]
    host, owner = int(pull[HOST]), int(pull[OWNER])
    stage = pull[STAGE]
    if stage == SENDING:
        flow(pull, pull[ROWS] * ID_BYTES, now, state, laws)
    elif stage == ASKING:
        pull[DUE] = now + laws.latency_s[host, owner]
    elif stage == ASKED:
        free_at = state.servers[owner]
        server = np.argmin(free_at)
        free_at[server] = max(free_at[server], now) + pull[ROWS] * laws.server_s_per_row
        pull[DUE] = now + (free_at[server] - now)
    elif stage == SERVED:
        flow(pull, pull[ROWS] * laws.feature_bytes, now, state, laws)
    elif stage == ANSWERING:
        pull[DUE] = now + laws.latency_s[owner, host]
    else:
        trainer = int(pull[TRAINER])
        waits = state.trainers[trainer]
        waits[FREE_AT] = max(waits[FREE_AT], now) + pull[ROWS] * laws.scatter_s_per_row
        waits[WAITING] -= 1
        clock[PULLS] -= 1
        last = int(clock[PULLS])
        state.pulls[i:last] = state.pulls[i + 1 : last + 1].copy()
        return trainer if waits[WAITING] == 0 else -1
    pull[STAGE] += 1
    return -1


@njit(cache=True, nogil=True)
def flow(pull, size, now, state, laws):  # type: ignore[no-untyped-def]
    """Put `size` bytes of a pull on the links. Flows that start together re-share once."""
    clock = state.clock
    if not clock[CHANGED]:
        settle(now, state)
        clock[CHANGED] = 1.0
    pull[LEFT], pull[RATE] = size, 0.0


@njit(cache=True, nogil=True)
def settle(now, state):  # type: ignore[no-untyped-def]
    """Bring all flows up to date."""
    clock, pulls = state.clock, state.pulls
    for i in range(int(clock[PULLS])):
        if pulls[i, STAGE] == ASKING or pulls[i, STAGE] == ANSWERING:
            pulls[i, LEFT] -= pulls[i, RATE] * (now - clock[SINCE])
    clock[SINCE] = now


@njit(cache=True, nogil=True)
def share(now, state, laws):  # type: ignore[no-untyped-def]
    """Take out the flows that are done, and share the links anew among the others.

    Progressive filling (Bertsekas and Gallager, Data Networks, 6.5.2): raise all rates together until a link is full,
    fix the flows that cross it, go on with the rest.
    """
    clock, pulls = state.clock, state.pulls
    settle(now, state)
    clock[CHANGED] = 0.0
    part, changes_at = congested(now, laws)
    spare = laws.bytes_per_s * part
    sharing = np.zeros(len(spare), np.int64)
    unfixed = 0
    for i in range(int(clock[PULLS])):
        stage = pulls[i, STAGE]
        if stage != ASKING and stage != ANSWERING:
            continue
        if pulls[i, LEFT] <= pulls[i, RATE] * DONE_S:
            pass_on(i, now, state, laws)
            continue
        pulls[i, RATE] = -1.0
        unfixed += 1
        for link in path(pulls[i], laws):
            if link >= 0:
                sharing[link] += 1
    while unfixed:
        level, full = np.inf, -1
        for link in range(len(spare)):
            if sharing[link] and spare[link] / sharing[link] < level:
                level, full = spare[link] / sharing[link], link
        for i in range(int(clock[PULLS])):
            stage = pulls[i, STAGE]
            if (stage != ASKING and stage != ANSWERING) or pulls[i, RATE] >= 0.0:
                continue
            way = path(pulls[i], laws)
            if not (way == full).any():
                continue
            pulls[i, RATE] = level
            unfixed -= 1
            for link in way:
                if link >= 0:
                    spare[link] = max(spare[link] - level, 0.0)
                    sharing[link] -= 1
    clock[NEXT_DONE] = np.inf
    for i in range(int(clock[PULLS])):
        if pulls[i, STAGE] == ASKING or pulls[i, STAGE] == ANSWERING:
            clock[NEXT_DONE] = min(clock[NEXT_DONE], now + pulls[i, LEFT] / pulls[i, RATE], changes_at)


@njit(cache=True, nogil=True)
def congested(now, laws):  # type: ignore[no-untyped-def]
    """The part of their rate that links carry from `now` on, and when that changes next (infinity: never)."""
    part, changes_at = 1.0, np.inf
    for start, end, factor in laws.congestion:
        if start <= now < end:
            part *= factor
        for edge in (start, end):
            if edge > now:
                changes_at = min(changes_at, edge)
    return part, changes_at


@njit(cache=True, nogil=True, inline="always")
def path(pull, laws):  # type: ignore[no-untyped-def]
    """The links that a flowing pull crosses, padded with -1."""
    host, owner = int(pull[HOST]), int(pull[OWNER])
    return laws.paths[host, owner] if pull[STAGE] == ASKING else laws.paths[owner, host]
