"""Does a cache keep the protocol? Run `check_cache` on your own, as `agents.check.check_policy` on a policy.

From the command line: `python -m sim.caches.check lru`, `python -m sim.caches.check mine.py:Mine:.5`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from agents.policy import Decision
from sim.caches.cache import Access, Cache, Init, Setup
from sim.caches.registry import make_cache
from sim.workload.stream import Stream, Universe
from traces.errors import InputError, run_command
from traces.terminal import Json, Quiet, print_json

Factory = Callable[[Setup], Cache]

ROWS, ROWS_PER_MINIBATCH, MINIBATCHES = 300, 60, 40
REPLACE_EVERY = 3
INITS: tuple[Init, ...] = ("degree", "empty", "random")


class BrokenProtocol(Exception):
    """A cache breaks a rule of `sim.caches.cache`; the message names the rule and what broke it."""


def check_cache(subject: str | Factory) -> list[str]:
    """Check a spec string, or a function that makes a cache from a `Setup` (a class whose options all have defaults).

    Returns the names of the rules that it keeps. Raises `BrokenProtocol` at the first that it doesn't, and `InputError`
    where there is no such cache.
    """
    make: Factory = (lambda setup: make_cache(subject, setup)) if isinstance(subject, str) else subject
    rules: dict[str, Callable[[], None]] = {
        "looks up a whole minibatch before it inserts": lambda: _for_all(make, _looks_up_first),
        "holds rows in the slots that it names, and no more than its capacity": lambda: _for_all(make, _names_slots),
        "counts as a naive replay does": lambda: _for_all(make, _counts),
        "changes only on a decision, where policies decide": lambda: _changes_on_decisions(make),
        "starts with the rows that `init` names, or says `takes_init = False`": lambda: _starts(make),
        "repeats under a seed": lambda: _repeats(make),
        "forks independently": lambda: _forks(make),
        "needs no future in a live run, or says so": lambda: _needs_no_future(make),
    }
    for keep in rules.values():
        keep()
    return list(rules)


def stream(seed: int = 5, rows: int = ROWS, minibatches: int = MINIBATCHES) -> Stream:
    """Minibatches of distinct rows, drawn by Zipf's law over an order that drifts; the last one asks for none."""
    rng = np.random.default_rng(seed)
    degrees = np.arange(rows) * 7 % rows // 2 + 1
    universe = Universe("halo", np.arange(rows) * 3, degrees, degrees, rng.random(rows, dtype=np.float32))
    order, weights = rng.permutation(rows), 1 / np.arange(1, rows + 1) ** 0.9
    size = min(rows, ROWS_PER_MINIBATCH)
    drawn = [
        np.sort(np.roll(order, 3 * m)[rng.choice(rows, size=size, replace=False, p=weights / weights.sum())])
        for m in range(minibatches - 1)
    ]
    counts = np.array([*(len(ids) for ids in drawn), 0])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return Stream(universe, np.concatenate(drawn).astype(np.int32), offsets, counts, counts)


def setup_of(trace: Stream, capacity_rows: int, init: Init = "degree", seed: int = 0, future: bool = True) -> Setup:
    """The `Setup` of a cache for `trace`."""
    return Setup(
        capacity_rows=capacity_rows,
        universe=trace.universe,
        init=init,
        seed=(seed, 0),
        minibatches_per_epoch=10,
        future=trace if future else None,
    )


def _cases() -> Iterator[tuple[str, Stream, Setup]]:
    """Ordinary runs, then extremes, each with what is special about it."""
    trace = stream()
    for init in INITS:
        yield f"init {init}", trace, setup_of(trace, 40, init)
    yield "fewer rows than a minibatch asks for", trace, setup_of(trace, ROWS_PER_MINIBATCH // 3)
    yield "a capacity of 1", trace, setup_of(trace, 1)
    yield "a capacity of all rows", trace, setup_of(trace, ROWS)
    small = stream(rows=3)
    yield "three rows in all", small, setup_of(small, 2)


def _made(make: Factory, setup: Setup) -> Cache:
    try:
        cache = make(setup)
    except InputError:
        raise  # the cache itself says that the set-up doesn't suit it
    except Exception as error:
        raise BrokenProtocol(
            f"can't be made with {setup.capacity_rows} rows: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(cache, Cache) or not isinstance(getattr(cache, "managed", None), bool):
        raise BrokenProtocol(f"{cache!r} is no cache: inherit from sim.caches.cache.Cache, and set `managed`")
    return cache


def _asked(cache: Cache, ids: NDArray[np.int32], decision: Decision | None, where: str) -> Access:
    """One access, whose arrays are copied."""
    before = ids.copy()
    try:
        access = cache.access(ids, decision)
        copied = Access(
            np.array(access.hit_slots),
            int(access.hit_rows),
            np.array(access.inserted_ids),
            np.array(access.inserted_slots),
            int(access.replacement_rows),
        )
    except Exception as error:
        raise BrokenProtocol(f"raises on {where}: {type(error).__name__}: {error}") from error
    if not np.array_equal(before, ids):
        raise BrokenProtocol(f"changes the ids that it is given, on {where}")
    return copied


def _decision(cache: Cache, minibatch: int) -> Decision | None:
    return Decision(replace=True) if cache.managed and minibatch % REPLACE_EVERY == REPLACE_EVERY - 1 else None


Rule = Callable[[Cache, NDArray[np.int32], NDArray[np.int32], Access, str], None]


def _for_all(make: Factory, rule: Rule) -> None:
    """Hold every access of every case to a rule, which sees the contents before it, the ids and what came of it."""
    for what, trace, setup in _cases():
        cache = _made(make, setup)
        for minibatch in range(trace.minibatches):
            where = f"minibatch {minibatch} ({what})"
            held, ids = cache.contents(), trace.minibatch(minibatch)
            rule(cache, held, ids, _asked(cache, ids, _decision(cache, minibatch), where), where)


def _looks_up_first(cache: Cache, held: NDArray[np.int32], ids: NDArray[np.int32], access: Access, where: str) -> None:
    if len(held) != cache.capacity_rows:
        raise BrokenProtocol(f"contents() has {len(held)} slots before {where}; capacity_rows is {cache.capacity_rows}")
    slot_of = {row: slot for slot, row in enumerate(held.tolist()) if row >= 0}
    expected = [slot_of.get(row, -1) for row in ids.tolist()]
    if len(access.hit_slots) != len(ids):
        raise BrokenProtocol(f"hit_slots has {len(access.hit_slots)} entries for {len(ids)} ids on {where}")
    for row, slot, right in zip(ids.tolist(), access.hit_slots.tolist(), expected, strict=True):
        if slot != right:
            raise BrokenProtocol(
                f"hit_slots of row {row} is {slot} on {where}; before that, it was in slot {right} (-1: in none)"
            )
    if access.hit_rows != (hits := sum(slot >= 0 for slot in expected)):
        raise BrokenProtocol(f"hit_rows is {access.hit_rows} on {where}; of the ids, {hits} were held before it")


def _names_slots(cache: Cache, held: NDArray[np.int32], ids: NDArray[np.int32], access: Access, where: str) -> None:
    """What is held afterwards is what was held before with the inserted rows in the slots that were named."""
    inserted, slots, capacity = access.inserted_ids, access.inserted_slots, cache.capacity_rows
    if len(inserted) != len(slots) or len(np.unique(slots)) != len(slots):
        raise BrokenProtocol(f"{len(inserted)} rows go into {len(np.unique(slots))} slots on {where}")
    if len(slots) and not 0 <= slots.min() <= slots.max() < capacity:
        raise BrokenProtocol(
            f"inserted_slots goes from {slots.min()} to {slots.max()} on {where}; there are {capacity}"
        )
    expected = held.copy()
    expected[slots] = inserted
    if not np.array_equal(expected, now := cache.contents()):
        slot = int(np.flatnonzero(expected != now)[0])
        raise BrokenProtocol(
            f"slot {slot} holds row {now[slot]} after {where}; by what was inserted it should hold {expected[slot]}"
        )
    rows = now[now >= 0]
    if len(np.unique(rows)) != len(rows):
        raise BrokenProtocol(f"a row is held in two slots after {where}")
    if cache.occupied_rows != len(rows):
        raise BrokenProtocol(f"occupied_rows is {cache.occupied_rows} after {where}; contents() has {len(rows)} rows")
    if not (0 <= cache.stale_rows <= capacity and cache.candidate_rows >= 0):
        raise BrokenProtocol(f"stale_rows is {cache.stale_rows}, candidate_rows {cache.candidate_rows} after {where}")


def _counts(cache: Cache, held: NDArray[np.int32], ids: NDArray[np.int32], access: Access, where: str) -> None:
    """Rows that were inserted and not missed are fetched beside the misses; at worst, all inserted ones are."""
    missed = set(ids.tolist()) - set(held.tolist())
    beside = sum(row not in missed for row in access.inserted_ids.tolist())
    if not beside <= access.replacement_rows <= len(access.inserted_ids):
        raise BrokenProtocol(
            f"replacement_rows is {access.replacement_rows} on {where}; of {len(access.inserted_ids)} rows inserted, "
            f"{beside} were not among the misses"
        )


def _changes_on_decisions(make: Factory) -> None:
    trace = stream()
    cache = _made(make, setup_of(trace, 40))
    if not cache.managed:
        return
    before = cache.contents()
    for minibatch in range(trace.minibatches):
        decision = Decision(replace=False) if minibatch % 2 else None
        access = _asked(cache, trace.minibatch(minibatch), decision, f"minibatch {minibatch}")
        if len(access.inserted_ids) or not np.array_equal(cache.contents(), before):
            raise BrokenProtocol(f"is managed, and changes in minibatch {minibatch} though no policy said so")


Played = list[tuple[list[int], list[int], list[int]]]


def _play(cache: Cache, trace: Stream, minibatches: range) -> Played:
    played = []
    for minibatch in minibatches:
        ids = trace.minibatch(minibatch)
        access = _asked(cache, ids, _decision(cache, minibatch), f"minibatch {minibatch}")
        played.append((access.hit_slots.tolist(), access.inserted_ids.tolist(), access.inserted_slots.tolist()))
    return played


def _starts(make: Factory) -> None:
    trace = stream()
    starts: tuple[Init, ...] = ("empty", "degree", "random")
    caches = [_made(make, setup_of(trace, 40, init)) for init in starts]
    distinct = len({tuple(sorted(cache.contents().tolist())) for cache in caches})
    if caches[0].takes_init and distinct < len(starts):
        raise BrokenProtocol("it holds the same rows at first whatever `init` says: set takes_init = False")
    if not caches[0].takes_init and distinct > 1:
        raise BrokenProtocol("what it holds at first depends on `init`, and takes_init is False")


def _repeats(make: Factory) -> None:
    trace = stream()
    for init in INITS:
        given = setup_of(trace, 40, init, seed=3)
        one, other = (_play(_made(make, given), trace, range(trace.minibatches)) for _ in range(2))
        _same(f"two fresh caches under one seed differ (init {init})", one, other)


def _forks(make: Factory) -> None:
    trace = stream()
    cache, alone = (_made(make, setup_of(trace, 40, "random")) for _ in range(2))
    half, rest = MINIBATCHES // 2, range(MINIBATCHES // 2, MINIBATCHES)
    _play(cache, trace, range(half))
    _play(alone, trace, range(half))
    expected = _play(alone, trace, rest)
    fork = cache.fork()
    _same("a fork differs from what it is forked from", expected, _play(fork, trace, rest))
    _same("a cache differs after a fork of it was used", expected, _play(cache, trace, rest))


def _needs_no_future(make: Factory) -> None:
    trace = stream()
    try:
        make(setup_of(trace, 40, future=False))
    except InputError:
        return  # a bound, which says so
    except Exception as error:
        raise BrokenProtocol(f"can't be made without a future: {type(error).__name__}: {error}") from error


def _same(complaint: str, expected: Played, found: Played) -> None:
    for minibatch, (a, b) in enumerate(zip(expected, found, strict=True)):
        if a != b:
            raise BrokenProtocol(f"{complaint}, first in access {minibatch}")


app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m sim.caches.check score:period=8

python -m sim.caches.check mine.py:Mine
"""


@app.command(epilog=EXAMPLES)
def main(
    spec: Annotated[str, typer.Argument(help="A cache, such as lru or mine.py:Mine (python -m sim.run --list).")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a cache to the protocol (`sim.caches.cache`).

    Exit code 2 for a spec that makes no cache, 1 for a broken protocol.
    """
    try:
        rules = check_cache(spec)
    except BrokenProtocol as broken:
        print(f"broken: {spec}: {broken}", file=sys.stderr)
        raise typer.Exit(1) from None
    if json:
        print_json({"cache": spec, "keeps": rules})
    elif not quiet:
        for rule in rules:
            print(f"{spec} {rule}")


if __name__ == "__main__":
    run_command(app)
