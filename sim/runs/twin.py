"""A trace, opened once for many runs, and what runs over it have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.registry import resolve
from sim.calibration.fit import fit
from sim.cluster.clusterfile import agent_latency, cluster_of
from sim.config import RunConfig
from sim.cost.model import CostModel
from sim.counts.bound import Bound, bound_of_run
from sim.counts.cache_replay import FetchCounts
from sim.counts.policy_runs import count_ahead, decides
from sim.runs.results import summarise
from sim.runs.whatif import changed
from sim.simulation.simulate import simulate
from sim.workload.load import TrainerInput, load
from sim.workload.stream import UniverseKind
from traces.checksum import sha256_of
from traces.errors import InputError
from traces.header import Header
from traces.reader import Trace


def checksum(path: Path) -> str:
    """The SHA-256 of a trace file, in hexadecimal. Raises `InputError` where there is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; `python -m traces.capture --help` tells how to make a trace")
    return sha256_of(path)


@dataclass(eq=False)
class Twin:
    """A captured run in memory: its trainers in every universe that is asked for, and the cost model fitted to it.

    Runs that are given one after another share what only depends on what they have in common: dense ids, degree order,
    what a cache that replaces on its own fetches, and the bound.
    """

    header: Header
    inputs: dict[UniverseKind, list[TrainerInput]]
    cost: CostModel
    fetch_counts: tuple[tuple[Any, ...], list[FetchCounts] | None] = ((), None)
    bounds: dict[tuple[str, str], Bound] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, universes: set[UniverseKind]) -> Twin:
        """Read the trace and fit the cost model. Raises `InputError` for bad input."""
        trace = Trace(path)
        inputs = {universe: load(trace, universe) for universe in sorted(universes)}
        for one in (one for trainers in inputs.values() for one in trainers):
            _ = one.stream.universe.degree_rank, one.stream.universe.halo_rows  # found before processes part ways
        cost = fit(next(iter(inputs.values())), trace.header, path.name, checksum(path)).cost
        return cls(trace.header, inputs, cost)

    def head(self, epochs: int) -> Twin:
        """The first epochs only, under the same cost model; nothing is copied."""
        minibatches = epochs * self.header.minibatches_per_epoch
        return Twin(
            self.header.model_copy(update={"epochs": epochs}),
            {universe: [one.head(minibatches) for one in inputs] for universe, inputs in self.inputs.items()},
            self.cost,
        )

    def run(self, config: RunConfig) -> dict[str, Any]:
        """Simulate one configuration: `sim.runs.results.summarise`, and beside it

        `buffer_rows` and `buffer_bytes` of the largest buffer of a trainer, `min_fetched_rows`, the fewest rows that
        any policy could fetch with buffers of this size, and `min_hit_rows`, its hits (`sim.counts.bound`); 0 and None
        where there is no buffer. Raises `InputError` for a configuration that can't be.
        """
        plan = resolve(config.agent)
        inputs, header, cost = changed(self.inputs[config.universe], self.header, self.cost, config)
        shared: tuple[Any, ...] = (
            plan.buffered,
            config.universe,
            config.cache,
            config.buffer,
            config.init,
            config.seed,
            config.trainers_per_host,
            config.feature_bytes,
        )
        if decides(config):
            shared += (plan.name, config.window, agent_latency(config))
        if self.fetch_counts[0] != shared:
            self.fetch_counts = shared, count_ahead(inputs, header, plan, config)
        cluster = cluster_of(header, config)
        simulated = simulate(inputs, header, plan, config, cost, cluster, fetch_counts=self.fetch_counts[1])
        rows = max(simulated.capacity_rows)
        summary = summarise(simulated, inputs, header)
        if config.universe == "remote":  # hits outside the halo can't be told over rows inside it
            summary["hit_rate_halo"] = None
        least = self.bound(config) if plan.buffered else None
        return summary | {
            "buffer_rows": rows,
            "buffer_bytes": rows * header.graph.feature_bytes,
            "min_fetched_rows": None if least is None else least.fetched_rows,
            "min_hit_rows": None if least is None else int(least.hit_rows.sum()),
        }

    def bound(self, config: RunConfig) -> Bound:
        """MIN with buffers of this size."""
        key = config.universe, config.buffer
        if key not in self.bounds:
            self.bounds[key] = bound_of_run(self.inputs[config.universe], self.header, config)
        return self.bounds[key]
