"""Predicted against measured times: `python -m benchmarks.time --base TRACE CAPTURE... [--markdown FILE]`.

The cost model is fitted to `--base` alone, a capture under policy `none`. Captures of the same graph on as many hosts
are predicted from the base trace, with another policy or link rate; captures of others from their own ids and counts,
with the base's laws for what those cost. Captures of the same kind are repeats: the table shows their mean, and the
half range of their epochs as noise. The first epoch of each is warm-up and left out.

`--scaling` measures how the simulator's own time grows with minibatches and trainers, on a trace and synthetic ones
after it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.registry import resolve
from sim.captured import measured_times, warm_up
from sim.cluster import ALLREDUCE_ROUNDS
from sim.config import RunConfig
from sim.fit import Fitted, fit
from sim.load import TrainerInput, load
from sim.results import epoch_seconds
from sim.simulate import simulate
from sim.topology import from_header
from traces import synthetic
from traces.checksum import sha256_of
from traces.header import Header
from traces.reader import Trace

PARTS = ("sample", "fetch", "label", "compute", "wait", "allreduce", "step")
Times = dict[str, NDArray[np.float64]]


def summary(times: Times, header: Header) -> dict[str, float]:
    """Mean times of a minibatch in milliseconds, and of an epoch in seconds, after the warm-up."""
    skip = warm_up(header)
    row = {part: float(times[f"{part}_s"][:, skip:].mean()) * 1e3 for part in PARTS}
    epoch_s = epoch_seconds(times["start_s"], times["step_s"], header.minibatches_per_epoch)
    return row | {"epoch": float(epoch_s[skip // header.minibatches_per_epoch :].mean())}


def predict(base: Path, fitted: Fitted, path: Path) -> Times:
    """What the base's cost model says of a capture."""
    header, wanted = Trace(base).header, Trace(path).header
    same = header.graph.checksum == wanted.graph.checksum and header.partition == wanted.partition
    source = base if same else path
    trace = Trace(source)
    config = RunConfig(trace="", trace_sha256=sha256_of(source), agent=wanted.policy)
    cluster = from_header(wanted, None)
    return simulate(load(trace, "halo"), trace.header, resolve(wanted.policy), config, fitted.cost, cluster).times


def table(base: Path, captures: list[Path]) -> str:
    """All captures as a Markdown table: predicted / measured."""
    trace = Trace(base)
    fitted = fit(load(trace, "halo"), trace.header, base.name, sha256_of(base))
    kinds: dict[tuple[str, int, float, str], list[Path]] = defaultdict(list)
    for path in captures:
        header = Trace(path).header
        rate = (header.cluster.link_bytes_per_s or 0.0) * 8e-6
        kinds[header.graph.name, header.partition.parts, rate, header.policy].append(path)
    lines = [f"| capture | {' | '.join(PARTS)} (ms) | epoch (s) | noise | error |", "|---" * (len(PARTS) + 4) + "|"]
    errors = []
    for (graph, parts, rate, policy), paths in sorted(kinds.items()):
        measured = []
        for path in paths:
            one = Trace(path)
            measured.append(summary(measured_times(load(one, "halo")), one.header))
        mean = {part: float(np.mean([one[part] for one in measured])) for part in measured[0]}
        noise = np.ptp([one["epoch"] for one in measured]) / 2 / mean["epoch"]
        predicted = summary(predict(base, fitted, paths[0]), Trace(paths[0]).header)
        error = predicted["epoch"] / mean["epoch"] - 1
        cells = " | ".join(f"{predicted[part]:.0f} / {mean[part]:.0f}" for part in PARTS)
        told = f"±{noise:.1%} of {len(paths)}" if len(paths) > 1 else "one run"
        epochs = f"{predicted['epoch']:.2f} / {mean['epoch']:.2f}"
        own = " (fitted on one of these)" if base in paths else ""
        lines.append(
            f"| {graph}, {parts} hosts, {rate:g} Mbit/s, {policy}{own} | {cells} | {epochs} | {told} | {error:+.1%} |"
        )
        if not own:
            errors.append(abs(error))
    told = f"mean absolute error {np.mean(errors):.1%}, largest {max(errors):.1%}, of what was not fitted"
    return "\n".join(lines) + f"\n\n{told}\n"


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


def _time(inputs: list[TrainerInput], header: Header, cost) -> None:  # type: ignore[no-untyped-def]
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
    parser.add_argument("captures", type=Path, nargs="*", help="captured runs to predict")
    parser.add_argument("--base", type=Path, help="the capture that the cost model is fitted to")
    parser.add_argument("--markdown", type=Path, help="write the table there")
    parser.add_argument("--scaling", type=Path, metavar="TRACE", help="measure the simulator's own time instead")
    arguments = parser.parse_args()
    if arguments.scaling:
        scaling(arguments.scaling)
        return
    if not arguments.base or not arguments.captures:
        parser.error("give --base and some captures, or --scaling")
    text = table(arguments.base, arguments.captures)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
