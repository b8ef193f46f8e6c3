"""Predicted against measured times: `python -m benchmarks.time [--rounds 3] [--out results/time] [--docs FILE]`.

Captures real runs on this machine in rounds, then predicts them. The cost model of a round is fitted to *one* of its
captures, the base: debian on 4 hosts at 200 Mbit/s under policy `none`. Captures of the same graph on as many hosts are
predicted from the base trace, with another policy or link rate; others from their own ids and counts, by the base's
laws. The first epoch of each is warm-up and left out. A capture that is there is not made again. Run it on a machine
that does nothing else: a round takes about six minutes.

Graphs: `python -m traces.graphs debian --undirected --out data/debian` and `... linux --out data/linux`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim import Twin
from sim.calibration.measured_run import measured_times, warm_up
from sim.runs.results import epoch_seconds
from sim.runs.run import Run
from sim.workload.load import load
from traces.errors import run_command
from traces.header import Header
from traces.output import atomic_write, file_to_write, folder_to_write
from traces.reader import Trace

PARTS = ("sample", "fetch", "label", "compute", "wait", "allreduce", "step")
Times = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is captured once a round."""

    graph: str
    hosts: int
    link: str
    policy: str

    @property
    def name(self) -> str:
        """In words, for the table."""
        return f"{self.graph}, {self.hosts} hosts, {self.link}, {self.policy}"

    def path(self, folder: Path, round_number: int) -> Path:
        """Where the capture of a round lies."""
        return folder / f"{self.name.replace(', ', '-').replace(' ', '-')}-{round_number}.parquet"

    def capture(self, out: Path) -> None:
        """Run it. Raises `CalledProcessError` where it fails."""
        epochs = 5 if self.graph == "debian" else 2
        options = {
            "graph": f"data/{self.graph}", "parts": self.hosts, "link": self.link, "policy": self.policy,
            "batch": 500, "epochs": epochs, "overhead-epochs": 0, "out": out,
        }  # fmt: skip
        given = [f"--{name}={value}" for name, value in options.items()]
        subprocess.run([sys.executable, "-m", "traces.capture", *given, "--quiet"], check=True)


BASE = Kind("debian", 4, "200mbit", "none")
POLICIES = ("none", "pipeline")
KINDS = (
    BASE,
    *(Kind("debian", 2, "200mbit", policy) for policy in POLICIES),
    Kind("debian", 4, "200mbit", "pipeline"),
    *(Kind("debian", 4, link, policy) for link in ("100mbit", "500mbit", "1gbit") for policy in POLICIES),
    *(Kind("linux", 4, "200mbit", policy) for policy in POLICIES),
)


def summary(times: Times, header: Header) -> dict[str, float]:
    """Mean times of a minibatch in milliseconds, and of an epoch in seconds, after the warm-up."""
    skip = warm_up(header)
    row = {part: float(times[f"{part}_s"][:, skip:].mean()) * 1e3 for part in PARTS}
    epoch_s = epoch_seconds(times["start_s"], times["step_s"], header.minibatches_per_epoch)
    return row | {"epoch": float(epoch_s[skip // header.minibatches_per_epoch :].mean())}


def predict(base: Twin, path: Path) -> Run:
    """What the base says of another capture: over its own ids where it is of the same graph in the same parts."""
    header = Trace(path).header
    same = base.header.graph.checksum == header.graph.checksum and base.header.partition == header.partition
    return (base if same else Twin.open(path, cost=base.cost)).simulate(header.policy)


def both(path: Path, base: Twin) -> tuple[dict[str, float], dict[str, float]]:
    """Summaries of a capture, predicted and measured."""
    header, inputs = Trace(path).header, load(Trace(path), "halo")
    return summary(predict(base, path).simulated.times, header), summary(measured_times(inputs, header), header)


def table(folder: Path) -> str:
    """All captures as a Markdown table: predicted / measured, means over rounds."""
    bases = []
    while (path := BASE.path(folder, len(bases))).exists():
        bases.append(Twin.open(path))
    lines = [f"| capture | {' | '.join(PARTS)} (ms) | epoch (s) | noise | error |", "|---" * (len(PARTS) + 4) + "|"]
    errors = []
    for kind in KINDS:
        paths = [kind.path(folder, number) for number in range(len(bases))]
        rows = [both(path, base) for path, base in zip(paths, bases, strict=True) if path.exists()]
        if not rows:
            continue
        made, real = ({part: float(np.mean([row[i][part] for row in rows])) for part in rows[0][0]} for i in (0, 1))
        error = made["epoch"] / real["epoch"] - 1
        if kind != BASE:
            errors.append(error)
        noise = np.ptp([row[1]["epoch"] for row in rows]) / 2 / real["epoch"]
        cells = " | ".join(f"{made[part]:.0f} / {real[part]:.0f}" for part in PARTS)
        each = ", ".join(f"{one['epoch'] / other['epoch'] - 1:+.1%}" for one, other in rows)
        epochs = f"{made['epoch']:.2f} / {real['epoch']:.2f}"
        name = kind.name + (" (fitted)" if kind == BASE else "")
        lines.append(f"| {name} | {cells} | {epochs} | ±{noise:.1%} | {error:+.1%} ({each}) |")
    mean, worst = np.mean(np.abs(errors)), np.max(np.abs(errors))
    return (
        "\n".join(lines)
        + f"\n\n{len(bases)} rounds; mean absolute error {mean:.1%}, largest {worst:.1%}, of what was not fitted\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is captured; 0: only the table")
    parser.add_argument("--out", type=Path, default=Path("results/time"), help="folder of the captures")
    parser.add_argument("--docs", type=Path, help="write the table there")
    arguments = parser.parse_args()
    folder_to_write(arguments.out)
    file_to_write(arguments.docs)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number in range(arguments.rounds):
        for kind in KINDS:
            if not (out := kind.path(arguments.out, number)).exists():
                print(f"round {number}: {kind.name}", file=sys.stderr, flush=True)
                kind.capture(out)
    text = table(arguments.out)
    print(text)
    if arguments.docs:
        with atomic_write(arguments.docs) as partial:
            partial.write_text(text)


if __name__ == "__main__":
    run_command(main)
