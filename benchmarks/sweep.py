"""How many configurations a minute: `python -m benchmarks.sweep [--seconds 60] [--trace traces/papers100m.parquet]`.

Sweeps a mix of caches, gates, buffers, universes and links, in the order that a sweep would, cut off after so many
seconds; then the same on one worker. Reports runs, runs a minute, scaling, the peak memory of all processes together,
and what a run costs over its bare cache kernels.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import time
from pathlib import Path

import psutil

from agents.registry import resolve
from sim.counts.count import count
from sim.counts.policy_runs import make_caches
from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, Plan, expand
from sim.sweeps.pool import run_local

GRIDS = {
    "kept by policies": {
        "caches": ["score", "frequency"],
        "agents": ["never", "always", "every:8", "every:16", "every:32", "random:.1", "random:.3", "threshold:.5"],
    },
    "kept on their own": {
        "caches": [
            "lru", "fifo", "sieve", "s3fifo", "clock", "lfu", "tinylfu", "arc", "static", "vip-sampled", "presc", "min",
        ],
        "agents": ["none", "pipeline", "never"],
    },
}  # fmt: skip
SHARED = {
    "buffers": ["1%", "2%", "5%", "10%", "15%", "20%", "25%", "35%", "50%", "70%"],
    "universes": ["halo", "remote"],
    "links": ["captured", "50mbit", "100mbit", "400mbit", "1gbit", "10gbit"],
}

SAMPLE = 16
"""Runs that are taken apart."""


def mixed(trace: Path, links: int) -> Plan:
    """The grids together, with that many link rates."""
    shared = SHARED | {"links": SHARED["links"][:links]}
    plans = [expand(Grid(trace=[str(trace)], **shared, **grid)) for grid in GRIDS.values()]
    configs = {run: config for plan in plans for run, config in plan.configs.items()}
    return Plan(configs, sum(plan.combinations for plan in plans), files=plans[0].files)


def peak_bytes(process: psutil.Process) -> int:
    """Memory of a process and its workers now, shared pages counted once."""
    return sum(one.memory_full_info().pss for one in [process, *process.children()])


def timed(work, open_twins, workers: int, seconds: float) -> tuple[int, int, float, int]:
    """Runs finished, runs failed, seconds, and peak bytes, from the first finished run on."""
    runs = failed = peak = 0
    start = looked = 0.0
    for rows in run_local(work, open_twins, workers):
        if not start:
            start = time.perf_counter()
            continue
        runs += len(rows)
        failed += sum(row["error"] is not None for row in rows)
        now = time.perf_counter() - start
        if now - looked > 2.0:
            looked, peak = now, max(peak, peak_bytes(psutil.Process()))
        if now > seconds:
            break
    return runs, failed, time.perf_counter() - start, peak


def kernel_seconds(configs, twin: Twin) -> float:
    """Processor time of the bare caches of some runs: made, and shown every minibatch, with no clock or policy."""
    start = time.process_time()
    for config in configs:
        if resolve(config.agent).buffered:
            inputs = twin.inputs[config.universe]
            for one, cache in zip(inputs, make_caches(inputs, twin.header, config), strict=True):
                count(cache, one.stream)
    return time.process_time() - start


def spin(count: int = 5_000_000) -> float:
    """Seconds of a plain loop, which shares nothing with anybody."""
    start, total = time.perf_counter(), 0
    for number in range(count):
        total += number * number % 7
    return time.perf_counter() - start


def machine_scaling(rounds: int = 3) -> float:
    """What two processes get done here in the time of one, at the best of so many rounds: no sweep can do better."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return max(2 * spin() / max(pool.map(spin, [5_000_000] * 2, chunksize=1)) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, default=Path("traces/papers100m.parquet"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--links", type=int, default=len(SHARED["links"]), help="link rates in the grid")
    arguments = parser.parse_args()
    plan = mixed(arguments.trace, arguments.links)
    start = time.perf_counter()
    (sha256,) = plan.files

    def open_twins() -> dict[str, Twin]:
        return {sha256: Twin.open(arguments.trace, {"halo", "remote"})}

    twin = open_twins()[sha256]
    print(f"{twin.header.notice or 'real graph'}")
    print(f"load averages before: {os.getloadavg()[0]:.2f}; opened in {time.perf_counter() - start:.1f} s")
    work = batches(list(plan.configs.values()))
    random.Random(0).shuffle(work)  # a part of the grid stands for the whole
    sample = [batch[0] for batch in work[:SAMPLE]]
    for config in sample:
        _ = twin.simulate(config, ahead=True).row  # compiled, and bounds known
    start = time.process_time()
    for config in sample:
        _ = twin.simulate(config, ahead=True).row
    whole = (time.process_time() - start) / len(sample)
    bare = kernel_seconds(sample, twin) / len(sample)
    print(f"grid: {len(plan.configs):,} distinct runs of {plan.combinations:,} combinations, in {len(work):,} batches")
    print(f"a run alone: {whole * 1e3:.1f} ms processor time, {bare * 1e3:.1f} ms of bare caches")
    del twin
    rates = {}
    for workers in (2, 1):
        runs, failed, seconds, peak = timed(work, open_twins, workers, arguments.seconds)
        rates[workers] = runs / seconds
        print(
            f"{workers} workers: {runs:,} runs ({failed} failed) in {seconds:.1f} s, "
            f"{60 * rates[workers]:,.0f} a minute, peak {peak / 1e6:,.0f} MB of all processes"
        )
    print(f"scaling from 1 to 2 workers: {rates[2] / rates[1]:.2f}; a plain loop's: {machine_scaling():.2f}")


if __name__ == "__main__":
    main()
