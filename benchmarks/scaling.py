"""How the simulator's own time grows with minibatches and with trainers: `python -m benchmarks.scaling TRACE`.

Minibatches are the trace's own; trainers are those of synthetic traces after it, each on a host of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from agents.registry import resolve
from sim.calibration.fit import fit
from sim.cluster.topology import from_header
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.simulation.engine_state import ALLREDUCE_ROUNDS
from sim.simulation.simulate import simulate
from sim.workload.load import TrainerInput, load
from traces import synthetic
from traces.header import Header
from traces.reader import Trace


def scaling(path: Path) -> None:
    """Print the simulator's time by minibatches and by trainers."""
    trace = Trace(path)
    inputs = load(trace, "halo")
    cost = fit(inputs, trace.header, path.name).cost
    print("minibatches a trainer, trainers: ms in all, us a minibatch of a trainer, us a message")
    for epochs in (1, 2, 5, trace.header.epochs):
        head = [one.head(epochs * trace.header.minibatches_per_epoch) for one in inputs]
        _time(head, trace.header, cost)
    with tempfile.TemporaryDirectory() as folder:
        for trainers in (2, 4, 8, 16, 32, 64):
            made = Path(folder) / f"{trainers}.parquet"
            synthetic.write(trace, made, trainers, 2, 1, 0)
            _time(load(Trace(made), "halo"), Trace(made).header, cost)


def _time(inputs: list[TrainerInput], header: Header, cost: CostModel) -> None:
    config = RunConfig(trace="", trace_sha256="captured", agent="none")
    best_s = np.inf
    for _ in range(3):
        start = time.process_time()
        simulate(inputs, header, resolve("none"), config, cost, from_header(header, None))
        best_s = min(best_s, time.process_time() - start)
    each = len(inputs) * inputs[0].stream.minibatches
    others = len(inputs) - 1  # requests and responses, for sampling and for features; and rounds of the all-reduce
    messages = each * (4 * others + min(2 * others, ALLREDUCE_ROUNDS))
    told = f"{inputs[0].stream.minibatches:6d} {len(inputs):4d}: {best_s * 1e3:8.1f} {best_s / each * 1e6:7.1f}"
    print(f"{told} {best_s / messages * 1e6:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="such as traces/papers100m.parquet")
    scaling(parser.parse_args().trace)


if __name__ == "__main__":
    main()
