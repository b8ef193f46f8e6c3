"""Simulating a run: builds the cluster, lets SimPy run it to the end, and hands out what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
from numpy.typing import NDArray

from agents.gate import Gate, LoggedDecision
from agents.oracle import Oracle
from agents.policy import RunFacts
from agents.registry import PolicyPlan, resolve
from agents.spec import parse_spec
from sim.branches import foresight
from sim.caches import cache_class, make_cache
from sim.caches.cache import Cache, Setup
from sim.capacity import capacity_rows
from sim.clock import Clock
from sim.cluster import make_state, record_use, shares_used
from sim.clusterfile import agent_latency
from sim.config import RunConfig
from sim.cost import CostModel
from sim.delayed import Delayed
from sim.fetch import Fabric
from sim.load import TrainerInput
from sim.scenario import Scenario, periods
from sim.serve import Served, serve_all, serve_decided, unserved
from sim.stream import Stream, Universe
from sim.topology import links
from sim.trainer import Barrier, Decided, Trainer, times_of
from sim.work import make_work
from traces.header import Header


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


def make_trainer_cache(
    header: Header, rank: int, universe: Universe, config: RunConfig, future: Stream | None
) -> Cache:
    """The cache of trainer `rank`, as the configuration says; with a `future`, bounds are possible too."""
    setup = Setup(
        capacity_rows=capacity_rows(config.buffer, universe, header.graph.feature_bytes),
        universe=universe,
        init=config.init,
        seed=(config.seed, rank),
        minibatches_per_epoch=header.minibatches_per_epoch,
        future=future,
    )
    return make_cache(config.cache, setup)


def make_caches(inputs: list[TrainerInput], header: Header, config: RunConfig) -> list[Cache]:
    """A cache a trainer, as the configuration says."""
    return [make_trainer_cache(header, one.rank, one.stream.universe, config, one.stream) for one in inputs]


def run_facts(
    header: Header,
    rank: int,
    universe: Universe,
    minibatches: int,
    config: RunConfig,
    capacity: int,
    row_s: float = 0.0,
) -> RunFacts:
    """What a policy is told of a trainer's run before it starts; `row_s` as in `RunFacts`."""
    partition = header.partition_of(rank)
    offsets = header.partition.offsets
    return RunFacts(
        graph=header.graph.name,
        synthetic=header.graph.kind == "synthetic",
        nodes=header.graph.nodes,
        edges=header.graph.edges,
        feature_bytes=header.graph.feature_bytes,
        partitions=header.partition.parts,
        trainers=header.trainers,
        rank=rank,
        local_nodes=offsets[partition + 1] - offsets[partition],
        halo_nodes=universe.halo_rows,
        batch_size=header.training.batch_size,
        fanout=header.training.fanout,
        epochs=header.epochs,
        minibatches=minibatches,
        cache=config.cache,
        universe=config.universe,
        capacity_rows=capacity,
        window=config.window,
        row_s=row_s,
    )


def serve_ahead(inputs: list[TrainerInput], header: Header, plan: PolicyPlan, config: RunConfig) -> list[Served] | None:
    """What every trainer fetches, where that doesn't depend on time; None where it does."""
    if not plan.buffered:
        return [serve_all(one, None) for one in inputs]
    if not decides(config):
        return [serve_all(one, cache) for one, cache in zip(inputs, make_caches(inputs, header, config), strict=True)]
    if plan.timed or agent_latency(config):
        return None
    return [
        serve_decided(one, deciding.cache, deciding.gate, header.minibatches_per_epoch)
        for one, deciding in zip(inputs, _decided(inputs, header, plan, config, 0.0), strict=True)
    ]


def serve_recorded(inputs: list[TrainerInput], header: Header, config: RunConfig, log: Path) -> list[Served]:
    """What every trainer fetched in the run whose `decisions.parquet` is `log`: each decision applies from the
    minibatch that it applied from, however long anything takes now. Raises `InputError` for a log of another run."""
    decisions = pl.read_parquet(log)
    applied: list[dict[int, int | None]] = [{} for _ in inputs]
    if not decisions.is_empty():
        for rank, asked, minibatch in decisions.select("rank", "asked_minibatch", "applied_minibatch").rows():
            applied[rank][asked] = minibatch
    plan, all_served = resolve(f"recorded:{log}"), []
    for one in inputs:
        if applied[one.rank]:
            [deciding] = _decided([one], header, plan, config, 0.0)
            per_epoch, when = header.minibatches_per_epoch, applied[one.rank]
            all_served.append(serve_decided(one, deciding.cache, deciding.gate, per_epoch, when))
        else:  # ended before its first decision
            all_served += [serve_all(one, cache) for cache in make_caches([one], header, config)]
    return all_served


def decides(config: RunConfig) -> bool:
    """Whether the configuration's cache asks its policy at all."""
    return cache_class(parse_spec(config.cache).name).managed


def _decided(
    inputs: list[TrainerInput], header: Header, plan: PolicyPlan, config: RunConfig, row_s: float
) -> list[Decided]:
    decided, latency = [], agent_latency(config)
    for one, cache in zip(inputs, make_caches(inputs, header, config), strict=True):
        minibatches = one.stream.minibatches
        facts = run_facts(header, one.rank, one.stream.universe, minibatches, config, cache.capacity_rows, row_s)
        policy = plan.make()
        if isinstance(policy, Oracle):
            policy.foresee = foresight(one, cache)
        if latency:
            policy = Delayed(policy, *latency, (config.seed, one.rank))
        decided.append(Decided(cache, Gate(policy, facts, config.seed), config.mode == "sync"))
    return decided


def simulate(
    inputs: list[TrainerInput],
    header: Header,
    plan: PolicyPlan,
    config: RunConfig,
    cost: CostModel,
    cluster: nx.DiGraph,
    tell: Callable[[], None] = lambda: None,
    served: list[Served] | None = None,
    bins: int = 0,
) -> Simulated:
    """Run `plan` over a captured run on `cluster`; `tell` is called after every minibatch of every trainer.

    `served` is what `serve_ahead` gave for the same trace, plan and cache; policies then saw no times. Without it they
    see the times of their windows. With `bins`, it is recorded how busy links and servers were, in so many intervals
    that together are twice as long as the captured run. The same inputs, configuration and seed give the same result,
    but for the latency of a language model.
    """
    if served is None and not (plan.buffered and decides(config)):
        served = serve_ahead(inputs, header, plan, config)
    env, scenario = Clock(), Scenario.of(config.scenario)
    routes = links(cluster, header.cluster.hosts)
    row_s = cost.row_s(header.graph.feature_bytes, float(routes.bytes_per_s.min()))
    work = make_work(inputs, header, cost, config.trace_sha256, plan.buffered)
    edges = sum(int(one.sampled_edges.sum()) for one in inputs)
    sample_s_per_edge = sum(float(one.sample_s.sum()) for one in work) / max(edges, 1)
    slow = periods(scenario, routes, header.cluster.hosts)
    state = make_state(cluster, routes, cost, header, sample_s_per_edge, slow)
    captured_s = max(float((one.times["start_s"] + one.times["step_s"]).max()) for one in inputs)
    bin_s = 2 * captured_s / bins if bins and captured_s else 1.0
    if bins:
        state = record_use(state, bins, bin_s)
    fabric = Fabric(env, state)
    epochs = Barrier(env, len(inputs))
    decided: Sequence[Decided | None] = (
        [None] * len(inputs) if served else _decided(inputs, header, plan, config, row_s)
    )
    if served is None:
        served = [unserved(one, deciding.cache) for one, deciding in zip(inputs, decided, strict=True) if deciding]
    trainers = [
        Trainer(
            env,
            one,
            todo,
            cost,
            fetches,
            fabric,
            epochs,
            minibatches_per_epoch=header.minibatches_per_epoch,
            depth=int(plan.pipelined) if config.depth is None else config.depth,
            scenario=scenario,
            agent_cores=cluster.graph.get("agent_cores", 0.0),
            decided=deciding,
            tell=tell,
        )
        for one, todo, fetches, deciding in zip(inputs, work, served, decided, strict=True)
    ]
    env.run()
    for one, deciding in zip(served, decided, strict=True):
        if deciding is not None:
            one.decisions.extend(deciding.gate.close())
    return Simulated(
        counts={
            "hit_rows": np.stack([one.hit_rows for one in served]),
            "replacement_rows": np.stack([one.replacement_rows for one in served]),
            "fetched_rows": np.stack([one.rows_by_owner.sum(axis=1) for one in served]),
        },
        times=times_of(trainers),
        capacity_rows=[one.capacity_rows for one in served],
        fill_rows=[int(one.fill_by_owner.sum()) for one in served],
        fill_s=[t.fill_s for t in trainers],
        decisions=[one.decisions for one in served],
        used=shares_used(state, bin_s),
        used_names=[("link", f"{source} to {target}") for source, target in routes.index]
        + [("servers", host) for host in header.cluster.hosts],
        bin_s=bin_s,
    )
