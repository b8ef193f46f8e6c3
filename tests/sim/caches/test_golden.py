"""Exact hits and fetched rows of every cache at eight capacities on a small synthetic trace, in `golden.txt`: in both
universes with buffers filled by local degree, and in the halo with buffers filled by degree in the whole graph.

`python tests/sim/caches/test_golden.py` writes the table anew. Managed buffers replace in every fourth minibatch.
"""

from functools import cache as memoised
from pathlib import Path

import numpy as np
import pytest
from streams import REPLACE, setup

from sim.caches.registry import CACHES, make_cache
from sim.counts.bound import bound_of_trainer
from sim.workload.stream import Stream, Universe

HERE = Path(__file__).parent
GOLDEN = HERE / "golden.txt"
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # of the halo
UNIVERSES = ("halo", "remote")


@memoised
def small(kind):
    """The stream of `small.npz` in one universe, and its minibatches an epoch."""
    with np.load(HERE / "small.npz") as file:
        ids, rows, vip = file["ids"].astype(np.int32), file["rows"], file["vip"]
        degrees, local = file["degrees"].astype(np.int64), file["local_degrees"].astype(np.int64)
        epoch = int(file["minibatches_per_epoch"])
    nodes = np.flatnonzero(local > 0) if kind == "halo" else np.arange(len(local))
    universe = Universe(kind, nodes, degrees[nodes], local[nodes], vip[nodes])
    minibatch = np.repeat(np.arange(len(rows)), rows)
    in_halo, inside = local[ids] > 0, np.isin(ids, nodes)
    offsets = np.concatenate(([0], np.cumsum(np.bincount(minibatch[inside], minlength=len(rows)))))
    dense = np.searchsorted(nodes, ids[inside]).astype(np.int32)
    halo_rows = np.bincount(minibatch[in_halo], minlength=len(rows))
    return Stream(universe, dense, offsets, rows.astype(np.int64), halo_rows), epoch


def counts(spec, kind, share, init="degree"):
    """Hits and fetched rows of a whole run, its initial rows and the rows outside the universe included."""
    stream, epoch = small(kind)
    cache = make_cache(spec, setup(int(share * stream.universe.halo_rows), stream, init=init, epoch=epoch))
    hits, fetched = 0, cache.occupied_rows
    for m in range(stream.minibatches):
        cache.look_ahead(stream)
        access = cache.access(stream.minibatch(m), REPLACE if cache.managed and m % 4 == 3 else None)
        hits += access.hit_rows
        fetched += int(stream.remote_rows[m]) - access.hit_rows + access.replacement_rows
    return hits, fetched


def table():
    lines = ["# synthetic, made by make_trace.py; hits/fetched rows; capacities are shares of the halo"]
    for kind, init in (*((kind, "degree") for kind in UNIVERSES), ("halo", "degree-global")):
        title = kind if init == "degree" else init
        lines.append(f"{title:13}" + "".join(f"{share:>14}" for share in SHARES)[1:])
        for name in CACHES:
            cells = ["{}/{}".format(*counts(name, kind, share, init)) for share in SHARES]
            lines.append(f"{name:12}" + "".join(f"{cell:>14}" for cell in cells))
    return lines


def test_every_cache_counts_what_it_did():
    assert table() == GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("init", ["empty", "degree", "degree-global", "random"])
@pytest.mark.parametrize("kind", UNIVERSES)
def test_no_cache_fetches_fewer_rows_than_min_or_has_more_hits_with_as_few(kind, init):
    for share in SHARES:
        stream, epoch = small(kind)
        capacity = int(share * stream.universe.halo_rows)
        minimal = bound_of_trainer(make_cache("min", setup(capacity, stream, epoch=epoch)), stream)
        for name in CACHES:
            if name != "compulsory":
                hits, fetched = counts(name, kind, share, init)
                assert fetched >= minimal.fetched_rows, f"{name} at {share}"
                assert hits <= minimal.hit_rows.sum() or fetched > minimal.fetched_rows, f"{name} at {share}"


@pytest.mark.parametrize("share", SHARES)
def test_static_opt_has_the_most_hits_of_all_static_sets(share):
    best, _ = counts("static-opt", "remote", share)
    assert best >= max(counts(name, "remote", share)[0] for name in ("degree", "vip", "random"))


if __name__ == "__main__":
    GOLDEN.write_text("\n".join(table()) + "\n")
