"""Processor time and memory of large traces: `python -m benchmarks.scale TRACE... [--cache lru] [--buffer 25%]`.

Counts the hits of a cache over every trainer of each trace, the ids read from the file an epoch at a time. Make the
traces with `python -m traces.synthetic`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import time
from pathlib import Path

from sim.config import RunConfig
from sim.counts.count import count
from sim.counts.policy_runs import make_trainer_cache
from sim.workload.load import load
from traces.reader import Trace


def measure(path: Path, cache: str, buffer: str) -> None:
    """Print a line: accesses, seconds of processor time and peak memory."""
    start = time.process_time()
    trace = Trace(path)
    inputs = load(trace, "halo", streamed=True)
    loaded = time.process_time()
    config = RunConfig(trace="", trace_sha256="", agent="never", cache=cache, buffer=buffer)
    hits = 0
    for one in inputs:
        kept = make_trainer_cache(trace.header, one.rank, one.stream.universe, config, future=None)
        hits += int(count(kept, one.stream)[0].sum())
    done = time.process_time()
    rows = trace.remote_rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{path.name}: {rows:,} accesses of {len(inputs)} trainers, {path.stat().st_size / 1e6:,.0f} MB; "
        f"opened in {loaded - start:.1f} s, {cache} {buffer} in {done - loaded:.1f} s: "
        f"{rows / (done - start) / 1e6:.1f} M accesses/s, {hits / rows:.1%} hits, peak {peak / 1e6:,.0f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--cache", default="lru")
    parser.add_argument("--buffer", default="25%")
    arguments = parser.parse_args()
    print(f"load average before: {os.getloadavg()[0]:.2f}")
    context = multiprocessing.get_context("spawn")
    for path in arguments.traces:  # a process each, whose peak is its own
        process = context.Process(target=measure, args=(path, arguments.cache, arguments.buffer))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
