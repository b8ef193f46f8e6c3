"""How early a sweep's ranking is known: `python -m benchmarks.early [--trace traces/papers100m.parquet]`.

Ranks 200 configurations by mean epoch time after 1, 2, ... epochs, and by the last of these epochs alone, and compares
with the ranking over all: Kendall's tau, whether the best is the same, and what choosing early would cost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, expand
from sim.sweeps.pool import run_local
from traces.cores import usable_cores


def epoch_times(configs, twin: Twin, sha256: str, workers: int) -> np.ndarray:
    """Mean epoch times in the order of `configs`; NaN where a run failed."""
    rows = [row for some in run_local(batches(configs), lambda: {sha256: twin}, workers) for row in some]
    found = {row["run"]: row.get("epoch_s_mean", np.nan) for row in rows}
    return np.array([found[config.id] for config in configs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trace", type=Path, default=Path("traces/papers100m.parquet"))
    arguments = parser.parse_args()
    shared = {
        "trace": [str(arguments.trace)],
        "buffers": ["1%", "2%", "5%", "10%", "25%"],
        "inits": ["degree", "empty"],
        "universes": ["halo", "remote"],
    }
    grids = [
        Grid(caches=["lru", "fifo", "sieve", "s3fifo", "lfu", "static"], agents=["never"], **shared),
        Grid(caches=["score"], agents=["every:8", "every:32", "random:.1", "threshold:.3"], **shared),
    ]
    plans = [expand(grid) for grid in grids]
    configs = [config for plan in plans for config in plan.configs.values()][:200]
    (sha256,) = plans[0].files
    twin = Twin.open(arguments.trace, {"halo", "remote"})
    workers = usable_cores()
    whole = epoch_times(configs, twin, sha256, workers)
    print(f"{len(configs)} configurations over {twin.header.epochs} epochs: {twin.header.notice}")
    before = None
    for epochs in range(1, twin.header.epochs):
        early = epoch_times(configs, twin.head(epochs), sha256, workers)
        last = early * epochs - (0 if before is None else before * (epochs - 1))
        for name, times in (("mean so far", early), ("last epoch", last)):
            tau = kendalltau(times, whole, nan_policy="omit").statistic
            chosen = whole[np.nanargmin(times)]
            cost = chosen / np.nanmin(whole) - 1
            share = epochs / twin.header.epochs
            print(f"{share:4.0%} of the epochs, {name}: tau {tau:.3f}, choosing then costs {cost:+.2%}", flush=True)
        before = early


if __name__ == "__main__":
    main()
