"""Simulating a run: builds the engine and the trainers, runs SimPy to the end, and collects counts and times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from agents.policy_driver import LoggedDecision
from agents.registry import PolicyPlan
from sim.cluster.scenario import Scenario
from sim.cluster.topology import links
from sim.config import EngineKind, RunConfig
from sim.cost.model import CostModel
from sim.cost.service_demand import ServiceDemand, make_service_demand
from sim.counts.cache_replay import FetchCounts, empty_counts
from sim.counts.policy_runs import Decided, count_ahead, decided_caches, decides
from sim.engine.engine import CompiledEngine
from sim.engine.environment import EngineEnvironment
from sim.engine.reference import ReferenceEngine
from sim.simulation.engine_state import engine_parameters
from sim.simulation.trainer import Barrier, Trainer, times_of
from sim.workload.load import TrainerInput
from traces.errors import InputError
from traces.header import Header

ENGINES: dict[EngineKind, type[CompiledEngine | ReferenceEngine]] = {
    "compiled": CompiledEngine,
    "simpy": ReferenceEngine,
}


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A finished run. `counts` and `times` have shape (trainers, minibatches); times are in seconds.

    `capacity_rows`, `fill_rows` and `fill_s` have a value a trainer, `decisions` a list a trainer. `used` (intervals of
    `bin_s`, links and hosts) are the shares of links' rates and servers' time that were used; `used_names` says whose.
    """

    counts: dict[str, NDArray[np.int64]]
    times: dict[str, NDArray[np.float64]]
    capacity_rows: list[int]
    fill_rows: list[int]
    fill_s: list[float]
    decisions: list[list[LoggedDecision]]
    used: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    used_names: list[tuple[str, str]] = field(default_factory=list)
    bin_s: float = 1.0


def simulate(
    inputs: list[TrainerInput],
    header: Header,
    plan: PolicyPlan,
    config: RunConfig,
    cost: CostModel,
    cluster: nx.DiGraph,
    on_progress: Callable[[], None] = lambda: None,
    fetch_counts: list[FetchCounts] | None = None,
    bins: int = 0,
) -> Simulated:
    """Run `plan` over a captured run on `cluster`; `on_progress` is called after every minibatch of every trainer.

    `fetch_counts` is what `count_ahead` gave for the same trace, plan and cache; policies then saw no times. Without it
    they see the times of their windows. With `bins`, it is recorded how busy links and servers were, in so many
    intervals that together are twice as long as the captured run. The same inputs, configuration and seed give the same
    result, but for the latency of a language model. Raises `InputError` for `bins` and an engine that records nothing.
    """
    if fetch_counts is None and not (plan.buffered and decides(config)):
        fetch_counts = count_ahead(inputs, header, plan, config)
    env, scenario = EngineEnvironment(), Scenario.of(config.scenario)
    routes = links(cluster, header.cluster.hosts)
    row_s = cost.row_s(header.fetched_row_bytes, float(routes.bytes_per_s.min()))
    work = make_service_demand(inputs, header, cost, config.trace_sha256, plan.buffered)
    edges = sum(int(one.sampled_edges.sum()) for one in inputs)
    sample_s_per_edge = sum(float(one.sample_s.sum()) for one in work) / max(edges, 1)
    engine = ENGINES[config.engine](env, engine_parameters(cluster, routes, cost, header, sample_s_per_edge, scenario))
    bin_s = 2 * _length_s(inputs, header, work, row_s) / bins or 1.0 if bins else 1.0
    if bins:
        if not isinstance(engine, CompiledEngine):
            raise InputError("--engine simpy doesn't record how busy links and servers are: leave out --timeline")
        engine.record_use(bins, bin_s)
    epochs = Barrier(env, len(inputs))
    decided: Sequence[Decided | None] = (
        [None] * len(inputs) if fetch_counts else decided_caches(inputs, header, plan, config, row_s)
    )
    if fetch_counts is None:
        fetch_counts = [
            empty_counts(one, deciding.cache) for one, deciding in zip(inputs, decided, strict=True) if deciding
        ]
    trainers = [
        Trainer(
            env,
            one,
            todo,
            cost,
            fetches,
            engine,
            epochs,
            minibatches_per_epoch=header.minibatches_per_epoch,
            depth=int(plan.pipelined) if config.depth is None else config.depth,
            scenario=scenario,
            agent_cores=cluster.graph.get("agent_cores", 0.0),
            decided=deciding,
            on_progress=on_progress,
        )
        for one, todo, fetches, deciding in zip(inputs, work, fetch_counts, decided, strict=True)
    ]
    env.run()
    for one, deciding in zip(fetch_counts, decided, strict=True):
        if deciding is not None:
            one.decisions.extend(deciding.driver.close())
    return Simulated(
        counts={
            "hit_rows": np.stack([one.hit_rows for one in fetch_counts]),
            "replacement_rows": np.stack([one.replacement_rows for one in fetch_counts]),
            "fetched_rows": np.stack([one.rows_by_owner.sum(axis=1) for one in fetch_counts]),
        },
        times=times_of(trainers),
        capacity_rows=[one.capacity_rows for one in fetch_counts],
        fill_rows=[int(one.fill_by_owner.sum()) for one in fetch_counts],
        fill_s=[t.fill_s for t in trainers],
        decisions=[one.decisions for one in fetch_counts],
        used=engine.shares_used() if isinstance(engine, CompiledEngine) else np.zeros((0, 0)),
        used_names=[("link", f"{source} to {target}") for source, target in routes.index]
        + [("servers", host) for host in header.cluster.hosts],
        bin_s=bin_s,
    )


def _length_s(inputs: list[TrainerInput], header: Header, work: list[ServiceDemand], row_s: float) -> float:
    """How long the captured run took; of one that nobody made, all work and all rows of the longest trainer."""
    if not header.sampled:
        return max(float((one.times["start_s"] + one.times["step_s"]).max()) for one in inputs)
    parts = ("sample_s", "gather_s", "label_s", "compute_s", "update_s", "allreduce_s")
    return max(
        sum(float(getattr(todo, part).sum()) for part in parts) + row_s * float(one.stream.remote_rows.sum())
        for one, todo in zip(inputs, work, strict=True)
    )
