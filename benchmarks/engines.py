"""The compiled engine beside the reference engine: `python -m benchmarks.engines TRACE`.

Simulates one run with each in turn. Prints processor time, and the largest difference of any time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from agents.registry import resolve
from sim.calibration.fit import fit
from sim.cluster.topology import from_header
from sim.config import EngineKind, RunConfig
from sim.simulation.simulate import Simulated, simulate
from sim.workload.load import load
from traces.reader import Trace


def compare(path: Path, agent: str, pairs: int) -> None:
    """Print the seconds of each pair, and their median ratio."""
    trace = Trace(path)
    inputs = load(trace, "halo")
    cost, cluster = fit(inputs, trace.header, path.name).cost, from_header(trace.header, None)

    def timed(engine: EngineKind) -> tuple[float, Simulated]:
        config = RunConfig(trace="", trace_sha256="", agent=agent, engine=engine)
        began_s = time.process_time()
        simulated = simulate(inputs, trace.header, resolve(agent), config, cost, cluster)
        return time.process_time() - began_s, simulated

    timed("compiled")  # kernels are compiled or loaded
    ratios, apart_s = [], 0.0
    for _ in range(pairs):
        (compiled_s, compiled), (simpy_s, simpy) = timed("compiled"), timed("simpy")
        apart_s = max(apart_s, *(float(np.abs(simpy.times[name] - compiled.times[name]).max()) for name in simpy.times))
        ratios.append(simpy_s / compiled_s)
        print(f"compiled {compiled_s:.3f} s, simpy {simpy_s:.3f} s", flush=True)
    print(f"simpy takes {np.median(ratios):.0f} times as long; times differ by {apart_s:.1e} s at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="such as traces/debian.parquet")
    parser.add_argument("--agent", default="pipeline")
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    compare(arguments.trace, arguments.agent, arguments.pairs)


if __name__ == "__main__":
    main()
