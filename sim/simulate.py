"""Simulating a run: builds the cluster, lets SimPy run it to the end, and hands out what happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import simpy
from numpy.typing import NDArray

from agents.gate import Gate, LoggedDecision
from agents.policy import RunFacts
from agents.registry import PolicyPlan
from sim.caches import make_cache
from sim.caches.cache import Cache, Setup
from sim.capacity import capacity_rows
from sim.config import RunConfig
from sim.cost import CostModel
from sim.fetch import Server, Store
from sim.load import TrainerInput
from sim.network import Network
from sim.stream import Stream, Universe
from sim.topology import links
from sim.trainer import Barrier, Trainer
from traces.header import Header


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A finished run. `counts` and `times` have shape (trainers, minibatches); times are in seconds.

    `capacity_rows`, `fill_rows` and `fill_s` have a value a trainer, `decisions` a list a trainer.
    """

    counts: dict[str, NDArray[np.int64]]
    times: dict[str, NDArray[np.float64]]
    capacity_rows: list[int]
    fill_rows: list[int]
    fill_s: list[float]
    decisions: list[list[LoggedDecision]]


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
    header: Header, rank: int, universe: Universe, minibatches: int, config: RunConfig, capacity: int
) -> RunFacts:
    """What a policy is told of a trainer's run before it starts."""
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
    )


def simulate(
    inputs: list[TrainerInput],
    header: Header,
    plan: PolicyPlan,
    config: RunConfig,
    cost: CostModel,
    cluster: nx.DiGraph,
    tell: Callable[[], None] = lambda: None,
) -> Simulated:
    """Run `plan` over a captured run on `cluster`; `tell` is called after every minibatch of every trainer.

    The same inputs, configuration and seed give the same result, but for the latency of a language model.
    """
    env = simpy.Environment()
    network = Network(env, links(cluster, header.cluster.hosts), cost.link_efficiency)
    servers = [Server(env, header.cluster.servers_per_host, cost) for _ in header.cluster.hosts]
    gradients, epochs = Barrier(env, len(inputs)), Barrier(env, len(inputs))
    caches: Sequence[Cache | None] = make_caches(inputs, header, config) if plan.buffered else [None] * len(inputs)
    gates = [
        None
        if cache is None
        else Gate(
            plan.make(),
            run_facts(header, one.rank, one.stream.universe, one.stream.minibatches, config, cache.capacity_rows),
            config.seed,
        )
        for one, cache in zip(inputs, caches, strict=True)
    ]
    trainers = [
        Trainer(
            env,
            one,
            Store(env, network, servers, one.partition, header.graph.feature_bytes, cost),
            gradients,
            epochs,
            minibatches_per_epoch=header.minibatches_per_epoch,
            depth=int(plan.pipelined),
            cache=cache,
            gate=gate,
            synchronous=config.mode == "sync",
            tell=tell,
        )
        for one, cache, gate in zip(inputs, caches, gates, strict=True)
    ]
    env.run()
    return Simulated(
        counts={name: np.stack([t.counts[name] for t in trainers]) for name in trainers[0].counts},
        times={name: np.stack([t.times[name] for t in trainers]) for name in trainers[0].times},
        capacity_rows=[0 if cache is None else cache.capacity_rows for cache in caches],
        fill_rows=[t.fill_rows for t in trainers],
        fill_s=[t.fill_s for t in trainers],
        decisions=[[] if t.gate is None else t.gate.close() for t in trainers],
    )
