"""Runs that are sampled offline beside captured ones of the same settings: docs/validation/sampled.md.

    python -m benchmarks.sampled --graph data/debian --settings "4:10,25:500 2:5,10,15:250" --folder results/sampled

A setting is machines:fanout:batch, and :trainers a machine where that isn't 1. Of each, two real runs are captured with
different seeds, and two are sampled. Captures that FOLDER has are used again. Prints a section a setting.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import polars as pl
import typer
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from agents.registry import resolve
from sim.config import make_config
from sim.counts.policy_runs import count_ahead
from sim.workload.load import load
from sim.workload.stream import UniverseKind
from traces.accesses import reuse
from traces.cores import usable_cores
from traces.errors import run_command
from traces.info import shape
from traces.reader import Trace
from traces.sampling.sources import from_graph
from traces.sampling.write import Settings, sample

app = typer.Typer(add_completion=False)

SEEDS = (1, 2)
BUFFERS = ("5%", "15%", "25%")
POLICIES: dict[str, tuple[str, str, UniverseKind]] = {
    "vip": ("never", "vip", "remote"),
    "lru": ("never", "lru", "remote"),
    "score, every:16": ("every:16", "score", "halo"),
    "lookahead": ("never", "lookahead", "remote"),
    "MIN": ("never", "min", "remote"),
}
"""Policy, cache and universe."""

COUNTS = ("input_nodes", "remote_rows", "sampled_edges")
PAIRS = [("captured 1", "captured 2"), *((f"captured {a}", f"sampled {b}") for a in SEEDS for b in SEEDS)]

LEVEL = 0.05
"""A two-sample test with a smaller p tells two runs apart."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What both a capture and a sampled run were asked for."""

    parts: int
    fanout: str
    batch: int
    trainers: int

    @classmethod
    def parse(cls, text: str) -> Setting:
        """`4:10,25:500` or `4:10,25:500:2`."""
        parts, fanout, batch, *trainers = text.split(":")
        return cls(int(parts), fanout, int(batch), int(trainers[0]) if trainers else 1)

    def name(self, graph: Path, seed: int) -> str:
        """The name of a capture's file."""
        fanout = self.fanout.replace(",", "_")
        return f"{graph.name}-{self.parts}-{fanout}-{self.batch}-t{self.trainers}-s{seed}"


def captured(graph: Path, setting: Setting, seed: int, epochs: int, folder: Path) -> Trace:
    """A real run of the setting, captured now or before."""
    out = folder / f"{setting.name(graph, seed)}.parquet"
    if not out.exists():
        size = ["--parts", str(setting.parts), "--fanout", setting.fanout, "--batch", str(setting.batch)]
        more = ["--trainers", str(setting.trainers), "--epochs", str(epochs), "--seed", str(seed)]
        command = [sys.executable, "-m", "traces.capture", "--graph", str(graph), "--overhead-epochs", "0"]
        subprocess.run([*command, *size, *more, "--quiet", "--out", str(out)], check=True)
    return Trace(out)


def sampled(graph: Path, setting: Setting, seed: int, epochs: int, folder: Path) -> Trace:
    """The same, sampled offline."""
    out = folder / f"sampled-{setting.name(graph, seed)}.parquet"
    settings = Settings(
        fanout=tuple(map(int, setting.fanout.split(","))), batch_size=setting.batch,
        trainers_per_host=setting.trainers, epochs=epochs, seed=seed,
    )  # fmt: skip
    sample(from_graph(graph, setting.parts, None, None), settings, out, usable_cores())
    return Trace(out)


def hit_rates(trace: Trace) -> dict[tuple[str, str], float]:
    """Hits of all remote rows, by policy and buffer."""
    found = {}
    inputs = {universe: load(trace, universe) for universe in ("halo", "remote")}
    for name, (agent, cache, universe) in POLICIES.items():
        for buffer in BUFFERS:
            config = make_config(trace="", trace_sha256="", agent=agent, cache=cache, buffer=buffer, universe=universe)
            counts = count_ahead(inputs[universe], trace.header, resolve(agent), config)
            hits = sum(int(one.hit_rows.sum()) for one in counts)
            found[name, buffer] = hits / sum(int(one.stream.remote_rows.sum()) for one in inputs[universe])
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is compared of a run. `counts` are of full minibatches, (trainers, minibatches); `distances` are minibatches
    until a row is asked for again, of all rows, a trainer after another."""

    counts: dict[str, NDArray[np.int64]]
    distances: list[NDArray[np.int64]]
    halo_share: float
    hits: dict[tuple[str, str], float]

    @classmethod
    def at(cls, trace: Trace) -> Look:
        """Look at a trace."""
        steps, ranks = trace.steps(), range(trace.header.trainers)
        full = steps.filter(pl.col("seeds") == trace.header.training.batch_size)
        counts = {
            name: np.stack([full.filter(rank=rank)[name].to_numpy() for rank in ranks]).astype(np.int64)
            for name in COUNTS
        }
        table = reuse(trace).filter(pl.col("distance_minibatches").is_not_null())
        distances = []
        for rank in ranks:
            of_rank = table.filter(rank=rank)
            distances.append(np.repeat(of_rank["distance_minibatches"].to_numpy(), of_rank["rows"].to_numpy()))
        halo = float(np.mean([shape(trace, rank).halo_share for rank in ranks]))
        return cls(counts, distances, halo, hit_rates(trace))


def told_apart(one: Look, other: Look) -> tuple[int, int]:
    """Of how many two-sample tests (Kolmogorov and Smirnov; a trainer and a count each), how many tell them apart."""
    values = [
        ks_2samp(one.counts[name][rank], other.counts[name][rank]).pvalue
        for name in COUNTS
        for rank in range(len(one.counts[name]))
    ]
    return sum(p < LEVEL for p in values), len(values)


def largest(one: Look, other: Look) -> tuple[float, str]:
    """The largest difference of a hit rate, in points, and where it is."""
    place = max(one.hits, key=lambda key: abs(one.hits[key] - other.hits[key]))
    return 100 * abs(one.hits[place] - other.hits[place]), f"{place[0]} at {place[1]}"


def section(graph: Path, setting: Setting, looks: dict[str, Look]) -> list[str]:
    """A setting as Markdown."""
    first = looks["captured 1"]
    trainers = f", {setting.trainers} trainers a machine" if setting.trainers > 1 else ""
    lines = [
        f"## {graph.name}, {setting.parts} machines{trainers}, fanout {setting.fanout}, batch {setting.batch}", "",
        "| run | input nodes | remote rows | their deviation | sampled edges | in halo | asked again after | "
        + " | ".join(f"{name} {buffer}" for name, buffer in first.hits) + " |",
        "|---|" + "---|" * (6 + len(first.hits)),
    ]  # fmt: skip
    for name, look in looks.items():
        means = [f"{look.counts[of].mean():,.1f}" for of in COUNTS]
        spread = f"{look.counts['remote_rows'].std(axis=1).mean():,.1f}"
        again = f"{np.concatenate(look.distances).mean():.3f} minibatches"
        hits = " | ".join(f"{100 * rate:.2f}" for rate in look.hits.values())
        lines.append(
            f"| {name} | {means[0]} | {means[1]} | {spread} | {means[2]} | {look.halo_share:.2%} | {again} | {hits} |"
        )
    lines += ["", "| pair | largest difference of a mean | of a hit rate, points | tests that tell them apart |"]
    lines.append("|---|---|---|---|")
    for one, other in PAIRS:
        a, b = looks[one], looks[other]
        means_off = max(abs(b.counts[name].mean() / a.counts[name].mean() - 1) for name in COUNTS)
        points, place = largest(a, b)
        apart, tests = told_apart(a, b)
        lines.append(f"| {one}, {other} | {means_off:.2%} | {points:.2f} ({place}) | {apart} of {tests} |")
    return [*lines, ""]


@app.command(help=__doc__)
def main(
    graph: Annotated[Path, typer.Option(help="Folder that traces.graphs made.")],
    settings: Annotated[str, typer.Option(help="machines:fanout:batch[:trainers], with blanks between.")],
    folder: Annotated[Path, typer.Option(help="Where captures are kept.")] = Path("results/sampled"),
    epochs: Annotated[int, typer.Option(help="Epochs of every run.")] = 5,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for setting in map(Setting.parse, settings.split()):
        looks = {f"captured {seed}": Look.at(captured(graph, setting, seed, epochs, folder)) for seed in SEEDS}
        looks |= {f"sampled {seed}": Look.at(sampled(graph, setting, seed, epochs, folder)) for seed in SEEDS}
        print("\n".join(section(graph, setting, looks)), flush=True)


if __name__ == "__main__":
    run_command(app)
