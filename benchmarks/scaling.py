"""How the simulator's own time grows with minibatches and with trainers: `python -m benchmarks.scaling TRACE`.

Minibatches are the trace's own; trainers are those of synthetic traces after it, each on a host of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from sim import Twin
from sim.simulation.engine_state import ALLREDUCE_ROUNDS
from traces import synthetic
from traces.reader import Trace


def scaling(path: Path) -> None:
    """Print the simulator's time by minibatches and by trainers."""
    twin = Twin.open(path)
    print("minibatches a trainer, trainers: ms in all, us a minibatch of a trainer, us a message")
    for epochs in (1, 2, 5, twin.header.epochs):
        _time(twin.head(epochs))
    with tempfile.TemporaryDirectory() as folder:
        for trainers in (2, 4, 8, 16, 32, 64):
            made = Path(folder) / f"{trainers}.parquet"
            synthetic.write(Trace(path), made, trainers, 2, 1, 0)
            _time(Twin.open(made, cost=twin.cost))


def _time(twin: Twin) -> None:
    best_s = np.inf
    for _ in range(3):
        start = time.process_time()
        twin.simulate("none")
        best_s = min(best_s, time.process_time() - start)
    header = twin.header
    minibatches = header.epochs * header.minibatches_per_epoch
    each = header.trainers * minibatches
    others = header.trainers - 1  # requests and responses, for sampling and for features; and rounds of the all-reduce
    messages = each * (4 * others + min(2 * others, ALLREDUCE_ROUNDS))
    told = f"{minibatches:6d} {header.trainers:4d}: {best_s * 1e3:8.1f} {best_s / each * 1e6:7.1f}"
    print(f"{told} {best_s / messages * 1e6:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="such as traces/papers100m.parquet")
    scaling(parser.parse_args().trace)


if __name__ == "__main__":
    main()
