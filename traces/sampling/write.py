"""Sampling a whole run into a trace: streaming, in the memory of some epochs of one trainer."""

from __future__ import annotations

import platform
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from traces.capture.nodes import remote_nodes
from traces.errors import InputError
from traces.header import SAMPLED, ClusterInfo, Header, TrainingInfo
from traces.sampling.folder import Partitioned
from traces.sampling.sampler import SampledEpoch, Sampler
from traces.sampling.split import trainer_shares
from traces.writer import TraceWriter, minibatch_table

ALL = -1
"""A fanout: all neighbours."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is sampled, by the names and in the order of `traces.capture`: `fanout` has the seeds' hop last.

    Raises `InputError` for what can't be.
    """

    fanout: tuple[int, ...]
    batch_size: int
    trainers_per_host: int = 1
    epochs: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "trainers_per_host", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least 1")
        if not self.fanout or any(one < 1 and one != ALL for one in self.fanout):
            raise InputError(
                f"fanout is {self.fanout}; it must be one or more numbers of at least 1, such as 10,25 ({ALL}: all)"
            )


def sample(
    parted: Partitioned,
    settings: Settings,
    path: Path,
    threads: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Header:
    """Write the trace of a run that nobody made; `on_progress` hears how many epochs of trainers are written.

    The number of threads changes no byte. Raises `InputError` where there is nothing remote, or a trainer would have
    no training node.
    """
    graph, parts = parted.graph, parted.partition.parts
    if parts < 2:
        raise InputError("one partition has no remote nodes; give at least 2")
    shares = trainer_shares(graph.train, parts, settings.trainers_per_host)
    if not len(shares[0]):
        raise InputError(
            f"{len(graph.train)} training nodes for {len(shares)} trainers: some have none; give fewer trainers"
        )
    header = _header(parted, settings, shares, path.name)
    samplers: SimpleQueue[Sampler] = SimpleQueue()
    for _ in range(threads):
        samplers.put(Sampler(graph, settings.fanout))

    def epoch_of(rank: int, epoch: int) -> SampledEpoch:
        host = rank // settings.trainers_per_host
        own = int(graph.offsets[host]), int(graph.offsets[host + 1])
        sampler = samplers.get()
        try:
            rng = np.random.default_rng((settings.seed, rank, epoch))
            return sampler.epoch(shares[rank], settings.batch_size, own, rng)
        finally:
            samplers.put(sampler)

    with TraceWriter(path, header) as writer:
        nodes = remote_nodes(graph, settings.batch_size, settings.trainers_per_host, settings.fanout)
        for partition, of_partition in enumerate(nodes):
            writer.write_nodes(partition, of_partition)
        turns = [(rank, epoch) for epoch in range(settings.epochs) for rank in range(len(shares))]
        for done, (rank, epoch, sampled) in enumerate(_in_order(turns, epoch_of, threads), 1):
            rows = {
                "remote_ids": sampled.remote_ids,
                "seeds": sampled.seeds,
                "input_nodes": sampled.input_nodes,
                "local_nodes": sampled.input_nodes - np.array([len(ids) for ids in sampled.remote_ids]),
                "sampled_edges": sampled.sampled_edges,
                "hit_rows": np.zeros(len(sampled.seeds), np.int64),
                "replacement_rows": np.zeros(len(sampled.seeds), np.int64),
            }
            writer.write_epoch(minibatch_table(rank // settings.trainers_per_host, rank, epoch, rows))
            on_progress(done)
    return header


def _in_order(
    turns: list[tuple[int, int]], make: Callable[[int, int], SampledEpoch], threads: int
) -> Iterator[tuple[int, int, SampledEpoch]]:
    """What `make` gives for all turns, in their order; no more than one a thread is made ahead."""
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[tuple[int, int, Future[SampledEpoch]]] = deque()
        for rank, epoch in turns:
            ahead.append((rank, epoch, pool.submit(make, rank, epoch)))
            if len(ahead) > threads:
                first = ahead.popleft()
                yield first[0], first[1], first[2].result()
        while ahead:
            first = ahead.popleft()
            yield first[0], first[1], first[2].result()


def _header(parted: Partitioned, settings: Settings, shares: list[NDArray[np.int64]], file: str) -> Header:
    """Without a date and paths: the same settings give the same bytes whenever and wherever they are sampled."""
    parts = parted.partition.parts
    options = f"--fanout {','.join(map(str, settings.fanout))} --batch {settings.batch_size}"
    counts = f"--trainers {settings.trainers_per_host} --epochs {settings.epochs} --seed {settings.seed}"
    return Header(
        graph=parted.info,
        partition=parted.partition,
        cluster=ClusterInfo(
            form="none",
            hosts=tuple(f"machine{number}" for number in range(parts)),
            trainers_per_host=settings.trainers_per_host,
            servers_per_host=1,
            cores=1,
        ),
        training=TrainingInfo(
            model="unstated",
            gradient_bytes=0,
            fanout=settings.fanout,
            batch_size=settings.batch_size,
            depth=0,
            seed=settings.seed,
        ),
        epochs=settings.epochs,
        minibatches_per_epoch=-(-len(shares[0]) // settings.batch_size),
        seed_hosts=tuple(
            tuple(sorted(set(_owners(parted, share)) - {rank // settings.trainers_per_host}))
            for rank, share in enumerate(shares)
        ),
        complete=True,
        versions={name: version(name) for name in ("numba", "numpy")} | {"python": platform.python_version()},
        date="",
        command=f"python -m traces.sample {options} {counts} --out {file}",
        clock=SAMPLED,
    )


def _owners(parted: Partitioned, nodes: NDArray[np.int64]) -> list[int]:
    """The hosts that own some nodes."""
    owners: list[int] = np.unique(np.searchsorted(parted.graph.offsets, nodes, side="right") - 1).tolist()
    return owners
