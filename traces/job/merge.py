"""Merging the fragments of all trainers of a job into one trace."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from traces.capture import clock
from traces.capture.assemble import assemble, complete_epochs
from traces.errors import InputError
from traces.header import (
    ClusterInfo,
    FeatureInfo,
    GraphInfo,
    Header,
    NodeType,
    PartitionInfo,
    TrainingInfo,
)
from traces.job.facts import TrainerFacts, targets_file
from traces.job.nodes import remote_nodes
from traces.job.partition_files import PartitionFiles
from traces.nodes import Nodes
from traces.output import writing
from traces.reader import Trace

PROVENANCE_FILE = "provenance.json"


class Provenance(BaseModel):
    """Facts of a job from the user and its launcher. With a `scale_note`, the graph counts as synthetic."""

    part_config: str = ""
    scale_note: str | None = None
    real: bool = False
    form: str = "job"
    hosts: list[str] | None = None
    cores: int | None = None
    link_bytes_per_s: float | None = None
    servers_per_host: int = 1
    policy: str = "none"
    depth: int = 0
    command: str = ""
    clock: str = clock.SEVERAL_HOSTS
    nodes_of: str = ""
    """A trace to take the remote nodes from: the one that the run's buffer was made from."""
    date: str = ""
    versions: dict[str, str] = {}

    def with_config(self, config: Path) -> Provenance:
        """The same with what is known once the job runs."""
        found = {name: _version(name) for name in ("dgl", "torch", "numpy")} | {"python": platform.python_version()}
        date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        return self.model_copy(update={"part_config": str(config.resolve()), "versions": found, "date": date})

    def save(self, fragments: Path) -> None:
        """Write it beside the trainers' epochs."""
        (fragments / PROVENANCE_FILE).write_text(self.model_dump_json())

    @classmethod
    def load(cls, fragments: Path) -> Provenance:
        """What `save` wrote."""
        return cls.model_validate_json((fragments / PROVENANCE_FILE).read_bytes())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # built from source, as conda's may be
        return "unknown"


def merge(out: Path, fragments: Path, trainers: int) -> Header:
    """Write the trace `out` from the fragments of `trainers` ranks.

    Raises `InputError` where there is no whole epoch, or the fragments don't fit together.
    """
    provenance = Provenance.load(fragments)
    if not complete_epochs(fragments, trainers):
        raise InputError(f"{out}: no epoch in which all {trainers} trainers made a step, so there is no trace")
    facts = [TrainerFacts.load(fragments, rank) for rank in range(trainers)]
    files = PartitionFiles.read(Path(provenance.part_config))
    header = _header(provenance, facts, files)
    nodes: Iterator[Nodes]
    if provenance.nodes_of:
        nodes = map(Trace(provenance.nodes_of).nodes, range(files.parts))
    else:
        targets, per_epoch = _targets(fragments, facts, files)
        nodes = remote_nodes(files, targets, tuple(facts[0].fanout), per_epoch, _cached(header, files))
    with writing(out):
        return assemble(out, header, nodes, fragments)


def _header(provenance: Provenance, facts: list[TrainerFacts], files: PartitionFiles) -> Header:
    first, parts = facts[0], files.parts
    beside = [one.partition for one in facts]
    a_host = np.bincount(beside, minlength=parts)
    if len(set(a_host.tolist())) != 1:
        raise InputError(
            f"trainers a partition: {', '.join(map(str, a_host))}; a trace needs the same number beside every partition"
        )
    types = _types(facts, files)
    widest = max(types, key=lambda one: (one.cached_bytes, one.written_bytes))
    features = [one for one in widest.features if not one.trainable] or list(widest.features)
    names = {part: one.host for one in facts for part in [one.partition]}
    hosts = provenance.hosts or [names[part] for part in range(parts)]
    if len(set(hosts)) != parts:
        hosts = [f"machine{part}" for part in range(parts)]  # machines that share a host share its name
    synthetic = provenance.scale_note is not None
    return Header(
        graph=GraphInfo(
            name=files.graph_name,
            kind="synthetic" if synthetic else "real" if provenance.real else "unstated",
            scale_note=provenance.scale_note or "",
            nodes=files.nodes,
            edges=files.edges,
            feature_dim=sum(one.row_bytes // np.dtype(one.dtype).itemsize for one in features if _known(one.dtype))
            or 1,
            feature_dtype=", ".join(dict.fromkeys(one.dtype for one in features)),
            feature_bytes=sum(one.row_bytes for one in features),
            classes=0,
        ),
        partition=PartitionInfo(parts=parts, method=files.method, offsets=tuple(files.offsets.tolist())),
        cluster=ClusterInfo(
            form=provenance.form,
            hosts=tuple(hosts),
            trainers_per_host=int(a_host[0]),
            servers_per_host=provenance.servers_per_host,
            cores=provenance.cores or min(one.cores for one in facts),
            link_bytes_per_s=provenance.link_bytes_per_s,
        ),
        training=TrainingInfo(
            model=first.model or "unstated",
            gradient_bytes=first.gradient_bytes,
            fanout=tuple(one if isinstance(one, int) else max(one.values(), default=0) for one in first.fanout),
            batch_size=first.batch_size,
            depth=provenance.depth,
            seed=0,
            device=first.device,
            samplers=first.samplers,
        ),
        epochs=max(len(one.minibatches) for one in facts),
        minibatches_per_epoch=1,  # known when the first epoch is there
        node_types=types,
        trainer_partitions=tuple(beside) if beside != sorted(beside) else (),
        policy=provenance.policy,
        complete=all(one.finished for one in facts),
        versions=provenance.versions,
        date=provenance.date,
        command=provenance.command,
        clock=provenance.clock,
    )


def _known(dtype: str) -> bool:
    try:
        np.dtype(dtype)
    except TypeError:
        return False
    return True


def _types(facts: list[TrainerFacts], files: PartitionFiles) -> tuple[NodeType, ...]:
    """The node types with what any trainer fetched of them."""
    written = set[str]().union(*(one.written for one in facts))
    found: list[NodeType] = []
    for name, ranges in files.node_ranges.items():
        used = {key: use for one in facts for key, use in one.features.get(name, {}).items()}
        features = tuple(
            FeatureInfo(name=use.name, dtype=use.dtype, row_bytes=use.row_bytes, trainable=key in written)
            for key, use in sorted(used.items())
        )
        bounds = tuple((int(start), int(end)) for start, end in ranges)
        found.append(NodeType(name=name, ranges=bounds, features=features))
    if not any(one.features for one in found):
        raise InputError(
            "the job pulled no data of its input nodes from DGL's store, so there is nothing that a buffer could hold"
        )
    return tuple(found)


def _cached(header: Header, files: PartitionFiles) -> NDArray[np.bool_]:
    """The mask of nodes whose rows a buffer may hold."""
    cached = np.zeros(int(files.offsets[-1]), np.bool_)
    for one in header.node_types:
        if one.cached_bytes:
            for start, end in one.ranges:
                cached[start:end] = True
    return cached


def _targets(
    fragments: Path, facts: list[TrainerFacts], files: PartitionFiles
) -> tuple[list[NDArray[np.float64]], list[float]]:
    """By partition: in which share of its trainers' minibatches each node was a target, and how many an epoch has."""
    counts = [np.zeros(int(files.offsets[-1])) for _ in range(files.parts)]
    minibatches = np.zeros(files.parts)
    for one in facts:
        for epoch in range(len(one.minibatches)):
            with np.load(targets_file(fragments, one.rank, epoch)) as seen:
                counts[one.partition][seen["ids"]] += seen["counts"]
        minibatches[one.partition] += sum(one.minibatches)
    trainers = np.bincount([one.partition for one in facts], minlength=files.parts)
    epochs = max(len(one.minibatches) for one in facts)
    shares = [np.minimum(one / max(number, 1.0), 1.0) for one, number in zip(counts, minibatches, strict=True)]
    return shares, (minibatches / np.maximum(trainers, 1) / epochs).tolist()
