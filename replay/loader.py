"""DistDGL's loader with a buffer and a policy in front of the feature store, for any training script.

    loader = PrefetchingLoader(
        dgl.dataloading.DistNodeDataLoader(graph, nodes, sampler, batch_size=500, shuffle=True),
        graph,
        policy="results/best.json",   # what sim.tune or sim.run found
        trace="traces/mine.parquet",  # the captured run, of this graph on these partitions
        epochs=10,
    )
    for _ in range(10):
        for minibatch in loader:
            loss = criterion(model(minibatch.blocks, minibatch.features["feat"]), minibatch.labels)
            ...

Written against what dgl 1.1 and 2.x have in common; run with 1.1.3 and 2.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torch.distributed

from agents.policy import Policy
from agents.policy_driver import PolicyDriver
from agents.registry import ModelOptions
from replay.buffered import BufferedStore
from replay.check import VerifyingStore
from replay.dispatch import dispatcher
from replay.packed import PackedStore
from sim.config import RunConfig, read_policy
from sim.counts.policy_runs import make_trainer_cache, plan_of_config, run_facts
from sim.workload.load import make_universe
from traces.capture.device import CPU
from traces.capture.fetch import DistStore, FeatureSource
from traces.capture.minibatches import Minibatches, Prepared
from traces.errors import InputError
from traces.header import Header
from traces.nodes import Nodes
from traces.reader import Trace


class PrefetchingLoader(Minibatches):
    """A `DistNodeDataLoader` whose minibatches come prepared, with features that went through a policy's buffer.

    `loader` is DistDGL's own, with `shuffle` and batch size as it likes; every trainer makes one after torch's process
    group. `policy` is a configuration as `sim.tune` and `sim.run` write it, `trace` the capture of this graph on these
    partitions, which knows each partition's remote nodes. `features` are names of node data, of any dtypes and shapes,
    buffered together; a buffer given in bytes is shared by all. `label` is the node data that seeds need, or None.
    `depth` is the number of minibatches prepared ahead, by default as the configuration says, else 1, or 0 for `none`.
    `check` holds every row against its owner's. `trust` lets it run code that the file `policy` names: a policy or
    cache of a user's own.

    Each minibatch (`traces.capture.minibatches.Prepared`) has `input_nodes`, `seeds`, `blocks`, `features` (a dict) and
    `labels`.
    Raises `InputError` for a trace of other partitions, and for a cache or policy that can't be in a live run.
    """

    def __init__(
        self,
        loader: Any,
        graph: Any,
        *,
        policy: str | Path | RunConfig,
        trace: str | Path,
        epochs: int,
        features: Sequence[str] = ("feat",),
        label: str | None = "label",
        depth: int | None = None,
        check: bool = False,
        trust: bool = False,
        device: torch.device = CPU,
    ) -> None:
        config = policy if isinstance(policy, RunConfig) else read_policy(Path(policy), trust)
        plan = plan_of_config(config, ModelOptions(keep_answers=False))
        tensors = {name: graph.ndata[name] for name in features}
        self.driver: PolicyDriver | None = None
        source: FeatureSource = DistStore(tensors)
        if plan.buffered:
            known, rank, partition = Trace(Path(trace)), torch.distributed.get_rank(), graph.get_partition_book().partid
            header = _header_of_run(known, graph, loader.batch_size, tensors, epochs)
            per_epoch = -(-len(loader.dataset) // loader.batch_size)
            nodes = known.nodes(partition)
            store = make_store(tensors, nodes, header, rank, config, plan.make(), plan.calls_model, per_epoch)
            self.driver = store.driver
            source = VerifyingStore(store, tensors) if check else store
        labels = None if label is None else graph.ndata[label]
        depths = (depth, config.depth, int(plan.pipelined))
        super().__init__(loader, source, labels, next(one for one in depths if one is not None), device)

    def __iter__(self) -> Iterator[Prepared]:
        """One epoch; its steps are timed for policies that look at stalls."""
        waiting = perf_counter()
        for minibatch in super().__iter__():
            stall_s = perf_counter() - waiting
            yield minibatch
            self.source.stepped(stall_s, perf_counter() - waiting)
            waiting = perf_counter()


def _header_of_run(trace: Trace, graph: Any, batch_size: int, tensors: dict[str, Any], epochs: int) -> Header:
    """The trace's header with this run's epochs, features, trainers and batch size."""
    header, book = trace.header, graph.get_partition_book()
    sizes = [one["num_nodes"] for one in book.metadata()]
    if header.partition.offsets != (0, *accumulate(sizes)):
        raise InputError(f"{trace.path}: captured on other partitions than this run's; capture a run on these first")
    row_bytes = sum(prod(t.shape[1:]) * torch.empty(0, dtype=t.dtype).element_size() for t in tensors.values())
    trainers = torch.distributed.get_world_size() // header.partition.parts
    return header.model_copy(
        update={
            "epochs": epochs,
            "graph": header.graph.model_copy(update={"feature_bytes": row_bytes}),
            "cluster": header.cluster.model_copy(update={"trainers_per_host": trainers}),
            "training": header.training.model_copy(update={"batch_size": batch_size}),
        }
    )


def make_store(
    tensors: dict[str, Any],
    nodes: Nodes,
    header: Header,
    rank: int,
    config: RunConfig,
    policy: Policy,
    slow: bool,
    per_epoch: int,
    ended: Callable[[int, BufferedStore], None] = lambda epoch, store: None,
    store: PackedStore | None = None,
) -> BufferedStore:
    """The buffered features of trainer `rank`, with cache, driver and facts made as in the simulator.

    `tensors` are the features by name, `nodes` the remote nodes of the trainer's partition. A `slow` policy, such as a
    model, is asked in a thread. `ended` is called after every epoch. `store` has the features where there are several
    node types. Raises `InputError` for a cache or policy that can't be in a live run.
    """
    header = header.model_copy(update={"minibatches_per_epoch": per_epoch})
    universe = make_universe(nodes, config.universe)
    cache = make_trainer_cache(header, rank, universe, config, future=None)
    facts = run_facts(header, rank, universe, per_epoch * header.epochs, config, cache.capacity_rows)
    driver = PolicyDriver(policy, facts, config.seed)
    partition, offsets = header.partition_of(rank), header.partition.offsets
    owned = (offsets[partition], offsets[partition + 1])
    ask = dispatcher(driver, slow, config.mode)
    return BufferedStore(store or tensors, owned, universe, cache, driver, ask, per_epoch, ended)
