"""Accesses per second of every cache kernel, of libCacheSim, of naive twins and of a bare membership scan.

    python -m benchmarks.caches [--accesses 10000000]

One synthetic trace for all: minibatches of about 4,000 distinct rows, drawn with Zipf's law (exponent .8) from
100,000, the size of a halo. Kernels serve it a minibatch at a time (`batch`) and id by id (`access`, the published
algorithms, with the very misses of libCacheSim); libCacheSim reads the same accesses from an oracleGeneral file, the
twin those of the first minibatches only. Everything runs on one core, compiled before, the fastest of three runs
(libCacheSim: of two). Managed buffers replace in every 32nd minibatch.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np

from agents.policy import Decision
from sim.caches.cache import Setup
from sim.caches.registry import CACHES, make_cache
from sim.compiled import kernel
from sim.workload.stream import Stream, Universe

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sim" / "caches"))

ROWS, MINIBATCH, EXPONENT = 100_000, 4_000, 0.8
CAPACITY = ROWS // 4
REPLACE = Decision(replace=True)
THERE = {
    "fifo": "FIFO",
    "lru": "LRU",
    "lfu": "LFU",
    "clock": "Clock",
    "sieve": "Sieve",
    "s3fifo": "S3FIFO",
    "tinylfu": "WTinyLFU",
    "arc": "ARC",
    "min": "Belady",
}
TWINS = {"fifo": "FIFO", "lru": "LRU", "clock": "Clock", "s3fifo": "S3FIFO"}
TWENTY_TIMES = ("lru", "fifo", "clock", "sieve", "min", "s3fifo")
THIRD_OF_SCAN = ("score", "static", "frequency", "window")


def zipf_stream(accesses: int) -> Stream:
    """The trace of the benchmark, of at least so many accesses."""
    random = np.random.default_rng(1)
    weights = 1 / np.arange(1, ROWS + 1) ** EXPONENT
    cumulated, order = np.cumsum(weights) / weights.sum(), random.permutation(ROWS)
    minibatches, total = [], 0
    while total < accesses:
        drawn = np.searchsorted(cumulated, random.random(MINIBATCH * 5 // 4))
        minibatches.append(np.unique(order[drawn]).astype(np.int32))
        total += len(minibatches[-1])
    degrees = np.empty(ROWS, np.int64)
    degrees[order] = 1 + (1e6 * weights).astype(np.int64)
    counts = np.array([len(m) for m in minibatches])
    universe = Universe("halo", np.arange(ROWS), degrees, degrees, weights[np.argsort(order)].astype(np.float32))
    return Stream(universe, np.concatenate(minibatches), np.concatenate(([0], np.cumsum(counts))), counts, counts)


def fastest(times: int, make: Callable[[], Callable[[], int]]) -> tuple[float, int]:
    """The shortest time in seconds of what `make` returns, and its answer; `make` itself is not timed."""
    runs = []
    for _ in range(times):
        run = make()
        start = perf_counter()
        answer = run()
        runs.append((perf_counter() - start, answer))
    return min(runs)


def kernel_run(spec: str, stream: Stream) -> Callable[[], int]:
    setup = Setup(
        capacity_rows=CAPACITY,
        universe=stream.universe,
        init="empty" if spec.split(":")[0] in THERE else "degree",
        seed=(0,),
        minibatches_per_epoch=stream.minibatches // 10,
        future=stream,
    )
    cache = make_cache(spec, setup)
    cache.fork().access(stream.minibatch(0), REPLACE)  # compiles or loads

    def run() -> int:
        hits = 0
        for m in range(stream.minibatches):
            cache.look_ahead(stream)
            hits += cache.access(stream.minibatch(m), REPLACE if cache.managed and m % 32 == 31 else None).hit_rows
        return hits

    return run


@kernel
def count_members(ids, present):  # type: ignore[no-untyped-def]
    hits = 0
    for i in range(len(ids)):
        hits += present[ids[i]]
    return hits


def scan_run(stream: Stream) -> Callable[[], int]:
    """A membership test of every id against a fixed set, and nothing else."""
    present = np.zeros(ROWS, np.bool_)
    present[np.random.default_rng(0).permutation(ROWS)[:CAPACITY]] = True
    count_members(stream.minibatch(0), present)
    return lambda: sum(count_members(stream.minibatch(m), present) for m in range(stream.minibatches))


def write_oracle(stream: Stream, path: Path) -> None:
    from sim.caches.min import next_uses

    total = len(stream.ids)
    records = np.zeros(total, [("time", "<u4"), ("id", "<u8"), ("size", "<u4"), ("next", "<i8")])
    records["id"], records["size"] = stream.ids, 1
    uses = next_uses(stream.ids, np.arange(total + 1), np.full(ROWS, total, np.int32))
    records["next"] = np.where(uses == total, -1, uses)
    records.tofile(path)


def there_run(name: str, path: Path) -> Callable[[], int]:
    import libcachesim as there

    cache = getattr(there, THERE[name])(cache_size=CAPACITY)
    reader = there.TraceReader(str(path), there.TraceType.ORACLE_GENERAL_TRACE)
    accesses = path.stat().st_size // 24
    return lambda: round(accesses * (1 - cache.process_trace(reader)[0]))


def twin_rate(name: str, stream: Stream, minibatches: int = 3) -> float:
    """Accesses per second of the naive twin, at a tenth of the capacity: it is slower the more it holds."""
    import twins

    twin = getattr(twins, TWINS[name])(CAPACITY // 10)
    start = perf_counter()
    for m in range(minibatches):
        twin.serve(stream.minibatch(m).tolist())
    return stream.offsets[minibatches] / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accesses", type=int, default=10_000_000)
    stream = zipf_stream(parser.parse_args().accesses)
    total = len(stream.ids)
    print(f"synthetic Zipf trace: {total:,} accesses in {stream.minibatches:,} minibatches, {ROWS:,} rows, "
          f"capacity {CAPACITY:,}; million accesses per second")  # fmt: skip
    seconds, _ = fastest(3, lambda: scan_run(stream))
    scan = total / seconds / 1e6
    print(f"{'bare membership scan':24}{scan:8.0f}")
    print(f"{'':14}{'batch':>8}{'access':>8}{'libCacheSim':>13}{'twin':>8}   ratio, goal")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.oracleGeneral"
        write_oracle(stream, path)
        for name in CACHES:
            print(line(name, stream, path, scan), flush=True)


def line(name: str, stream: Stream, path: Path, scan: float) -> str:
    total = len(stream.ids)
    batch = total / fastest(3, lambda: kernel_run(name, stream))[0] / 1e6
    text = f"{name:14}{batch:8.0f}"
    if name in THERE:
        seconds, hits = fastest(3, lambda: kernel_run(f"{name}:access", stream))
        slow, hits_there = fastest(2, lambda: there_run(name, path))
        text += f"{total / seconds / 1e6:8.0f}{total / slow / 1e6:13.1f}"
        text += f"{twin_rate(name, stream) / 1e6:8.3f}" if name in TWINS else " " * 8
        text += f"   batch {slow / total * batch * 1e6:.0f}x, access {slow / seconds:.0f}x libCacheSim"
        text += ", goal 20x" if name in TWENTY_TIMES else ""
        text += ", same hits" if hits == hits_there else f", hits {hits:,} here and {hits_there:,} there"
    else:
        text += " " * 29 + f"   {batch / scan:.2f} of the scan" + (", goal .33" if name in THIRD_OF_SCAN else "")
    return text


if __name__ == "__main__":
    main()
