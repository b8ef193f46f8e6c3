"""Making caches and policies from a configuration, and replaying them without time; shared by simulated and live
runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from agents.oracle import Oracle
from agents.policy import RunFacts
from agents.policy_driver import PolicyDriver
from agents.registry import ModelOptions, PolicyPlan, resolve
from sim.caches.cache import Cache, Setup
from sim.caches.registry import cache_class, make_cache
from sim.cluster.clusterfile import agent_latency
from sim.config import RunConfig
from sim.counts.cache_replay import FetchCounts, replay_cache, replay_policy
from sim.counts.counterfactual import foresight
from sim.counts.delayed import Delayed
from sim.workload.capacity import capacity_rows, largest_block_bytes
from sim.workload.load import TrainerInput
from sim.workload.stream import Stream, Universe
from traces.header import Header


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """A cache and the driver of the policy that decides for it."""

    cache: Cache
    driver: PolicyDriver
    synchronous: bool


def plan_of_config(config: RunConfig, model: ModelOptions | None = None) -> PolicyPlan:
    """The plan of a configuration's policy. Raises `InputError` if the source of a user's policy has changed."""
    return resolve(config.agent, model, config.agent_sha256)


def setup_of_trainer(header: Header, rank: int, universe: Universe, config: RunConfig, future: Stream | None) -> Setup:
    """What the cache of trainer `rank` is told; with a `future`, bounds are possible too."""
    return Setup(
        capacity_rows=capacity_rows(config.buffer, universe, header.graph.feature_bytes),
        universe=universe,
        init=config.init,
        seed=(config.seed, rank),
        minibatches_per_epoch=header.minibatches_per_epoch,
        future=future,
        block_bytes=largest_block_bytes(header.training.batch_size, header.training.fanout),
    )


def make_trainer_cache(
    header: Header, rank: int, universe: Universe, config: RunConfig, future: Stream | None
) -> Cache:
    """The cache of trainer `rank`, as the configuration says (`setup_of_trainer`)."""
    return make_cache(config.cache, setup_of_trainer(header, rank, universe, config, future), config.cache_sha256)


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
    """The facts of a trainer's run that a policy gets at the start; `row_s` as in `RunFacts`."""
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


def count_ahead(
    inputs: list[TrainerInput], header: Header, plan: PolicyPlan, config: RunConfig
) -> list[FetchCounts] | None:
    """What every trainer fetches, where that doesn't depend on time; None where it does."""
    if not plan.buffered:
        return [replay_cache(one, None) for one in inputs]
    if not decides(config):
        return [
            replay_cache(one, cache) for one, cache in zip(inputs, make_caches(inputs, header, config), strict=True)
        ]
    if plan.timed or agent_latency(config):
        return None
    return [
        replay_policy(one, deciding.cache, deciding.driver, header.minibatches_per_epoch)
        for one, deciding in zip(inputs, decided_caches(inputs, header, plan, config, 0.0), strict=True)
    ]


def replay_recorded(inputs: list[TrainerInput], header: Header, config: RunConfig, log: Path) -> list[FetchCounts]:
    """What every trainer fetched in the run whose `decisions.parquet` is `log`: each decision applies from the
    minibatch that it applied from, however long anything takes now. Raises `InputError` for a log of another run."""
    decisions = pl.read_parquet(log)
    applied: list[dict[int, int | None]] = [{} for _ in inputs]
    if not decisions.is_empty():
        for rank, asked, minibatch in decisions.select("rank", "asked_minibatch", "applied_minibatch").rows():
            applied[rank][asked] = minibatch
    plan, all_counts = resolve(f"recorded:{log}"), []
    for one in inputs:
        if applied[one.rank]:
            [deciding] = decided_caches([one], header, plan, config, 0.0)
            per_epoch, when = header.minibatches_per_epoch, applied[one.rank]
            all_counts.append(replay_policy(one, deciding.cache, deciding.driver, per_epoch, when))
        else:  # ended before its first decision
            all_counts += [replay_cache(one, cache) for cache in make_caches([one], header, config)]
    return all_counts


def decides(config: RunConfig) -> bool:
    """Whether the configuration's cache asks its policy."""
    return cache_class(config.cache, config.cache_sha256).managed


def decided_caches(
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
        decided.append(Decided(cache, PolicyDriver(policy, facts, config.seed), config.mode == "sync"))
    return decided
