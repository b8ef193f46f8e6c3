"""Replaying a cache over a trainer's minibatches: what each of them fetches, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.policy import Decision
from agents.policy_driver import LoggedDecision, PolicyDriver
from sim.caches.cache import Cache
from sim.compiled import kernel
from sim.workload.load import TrainerInput


@dataclass(frozen=True, slots=True, eq=False)
class FetchCounts:
    """What one trainer's minibatches hit and fetch under its cache; arrays are int64.

    `hit_rows` and `replacement_rows` have shape (minibatches,), `rows_by_owner` (the rows to fetch) has shape
    (minibatches, partitions), `fill_by_owner` (what fills the buffer before the first minibatch) has (partitions,).
    `sampled` (minibatches,) counts the minibatches that have been sampled when each is fetched: its own number and 1,
    or more where a cache looks ahead. `decisions` is the log of the policy, if one decided.
    """

    hit_rows: NDArray[np.int64]
    replacement_rows: NDArray[np.int64]
    rows_by_owner: NDArray[np.int64]
    fill_by_owner: NDArray[np.int64]
    sampled: NDArray[np.int64]
    capacity_rows: int
    decisions: list[LoggedDecision] = field(default_factory=list)


def empty_counts(source: TrainerInput, cache: Cache | None) -> FetchCounts:
    """Counts before the first minibatch: every remote row is fetched."""
    partitions = source.owner_rows.shape[1]
    held = np.empty(0, np.int32) if cache is None else cache.contents()
    return FetchCounts(
        hit_rows=np.zeros(source.stream.minibatches, np.int64),
        replacement_rows=np.zeros(source.stream.minibatches, np.int64),
        rows_by_owner=source.owner_rows if cache is None else source.owner_rows.copy(),
        fill_by_owner=np.bincount(source.owner_of[held[held >= 0]], minlength=partitions),
        sampled=np.arange(1, source.stream.minibatches + 1),
        capacity_rows=0 if cache is None else cache.capacity_rows,
    )


def replay_minibatch(
    fetch_counts: FetchCounts, source: TrainerInput, cache: Cache, minibatch: int, decision: Decision | None
) -> None:
    """Replay one minibatch, and enter its hits and fetched rows."""
    ids = source.stream.minibatch(minibatch)
    cache.look_ahead(source.stream)
    fetch_counts.sampled[minibatch] = max(minibatch + 1, cache.foreseen)
    access = cache.access(ids, decision)
    rows_by_owner = fetch_counts.rows_by_owner[minibatch]
    take_hits(ids, access.hit_slots, source.owner_of, rows_by_owner)
    if access.replacement_rows:
        rows_by_owner += np.bincount(source.owner_of[access.beside(ids)], minlength=len(rows_by_owner))
    fetch_counts.hit_rows[minibatch] = access.hit_rows
    fetch_counts.replacement_rows[minibatch] = access.replacement_rows


def replay_cache(source: TrainerInput, cache: Cache | None) -> FetchCounts:
    """Replay all minibatches without a policy; without a cache, all rows are fetched."""
    fetch_counts = empty_counts(source, cache)
    if cache is not None:
        for minibatch in range(source.stream.minibatches):
            replay_minibatch(fetch_counts, source, cache, minibatch, None)
    return fetch_counts


def decide(
    fetch_counts: FetchCounts,
    source: TrainerInput,
    cache: Cache,
    driver: PolicyDriver,
    minibatch: int,
    minibatches_per_epoch: int,
) -> Decision | None:
    """Pass a minibatch's counts to the driver, and ask the policy if the window is full. The answer isn't applied
    yet."""
    observation = driver.after(
        minibatch // minibatches_per_epoch,
        minibatch,
        cache,
        remote_rows=int(source.stream.remote_rows[minibatch]),
        halo_rows=int(source.stream.halo_rows[minibatch]),
        hit_rows=int(fetch_counts.hit_rows[minibatch]),
        replacement_rows=int(fetch_counts.replacement_rows[minibatch]),
    )
    return None if observation is None else driver.policy.decide(observation)


def replay_policy(
    source: TrainerInput,
    cache: Cache,
    driver: PolicyDriver,
    minibatches_per_epoch: int,
    applied: Mapping[int, int | None] | None = None,
) -> FetchCounts:
    """Replay all minibatches under a policy that sees no times. Answers apply to the next minibatch. With `applied`, it
    maps the minibatch after which the policy was asked to the one from which the answer applied (None if the run ended
    before; a missing key means that there was no answer).
    """
    fetch_counts = empty_counts(source, cache)
    answer, due = None, None
    for minibatch in range(source.stream.minibatches):
        if answer is not None and due == minibatch:
            driver.answer(answer)
            answer = None
        replay_minibatch(fetch_counts, source, cache, minibatch, driver.take(minibatch))
        decision = decide(fetch_counts, source, cache, driver, minibatch, minibatches_per_epoch)
        if decision is not None and (applied is None or minibatch in applied):
            answer, due = decision, minibatch + 1 if applied is None else applied[minibatch]
    if answer is not None:
        driver.answer(answer)
    fetch_counts.decisions.extend(driver.close())
    return fetch_counts


@kernel
def take_hits(ids, hit_slots, owner_of, rows_by_owner):  # type: ignore[no-untyped-def]
    """Subtract the hits from the rows to fetch."""
    for i in range(len(ids)):
        if hit_slots[i] >= 0:
            rows_by_owner[owner_of[ids[i]]] -= 1
