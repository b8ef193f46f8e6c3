"""The captured run as it would be otherwise: a faster device, wider features, more trainers, other owners of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.cluster.clusterfile import read_cluster
from sim.cluster.scenario import read_scenario
from sim.config import RunConfig
from sim.cost.model import PARTS, CostModel
from sim.workload.load import TrainerInput
from sim.workload.stream import EpochStream, Stream
from traces.cluster.link import parse_link
from traces.errors import InputError
from traces.header import Header

AS_CAPTURED = "captured"
"""The link rate of the trace."""

WhatIf = tuple[list[TrainerInput], Header, CostModel]
"""A captured run and what its parts cost."""


def what_if(
    *,
    link: str | None,
    latency_s: float | None,
    cluster: Path | str | Mapping[str, Any] | None,
    scenario: Path | str | Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Fields of a `RunConfig`: another rate and latency of links; a cluster and a scenario, as files or as what such
    a file says. Raises `InputError` for what can't be."""
    fields: dict[str, Any] = {"link_latency_s": latency_s}
    if link not in (None, AS_CAPTURED):
        fields["link_bytes_per_s"] = parse_link(link)
    if cluster is not None:
        fields["cluster"] = read_cluster(cluster).model_dump_json(exclude_defaults=True)
    if scenario is not None:
        fields["scenario"] = read_scenario(scenario).text
    return fields


def changed(inputs: list[TrainerInput], header: Header, cost: CostModel, config: RunConfig) -> WhatIf:
    """What `config` wants changed. Ids and sampling stay as captured.

    Forward and backward pass take 1 / `compute_speed` as long. Rows of other `feature_bytes` take as much more to move,
    on links and in memory; the first layer of the model is not made wider. With more trainers a host, its trainers'
    minibatches are dealt out among them, so that an epoch has fewer steps.
    """
    if config.compute_speed != 1.0:
        cost = _scaled(cost, config.trace_sha256, "compute", 1 / config.compute_speed)
    if config.feature_bytes is not None:
        wider = config.feature_bytes / header.graph.feature_bytes
        if len([one for one in header.node_types if one.features]) > 1:
            raise InputError("--feature-bytes: the captured run's node types have widths of their own")
        graph = header.graph.model_copy(update={"feature_bytes": config.feature_bytes})
        header = header.model_copy(update={"graph": graph, "node_types": ()})
        cost = _scaled(cost, config.trace_sha256, "gather", wider)
        cost = replace(
            cost,
            server_s_per_row=cost.server_s_per_row * wider,
            scatter_s_per_row=cost.scatter_s_per_row * wider,
        )
    if config.trainers_per_host is not None:
        inputs, header = _dealt(inputs, header, config.trainers_per_host)
    return inputs, header, cost


def _scaled(cost: CostModel, sha256: str, part: str, factor: float) -> CostModel:
    """A part of every minibatch that takes `factor` times as long."""
    share = cost.contention_factors.get(sha256, {} if cost.regression else dict.fromkeys(PARTS, 1.0))
    return replace(
        cost,
        contention_factors=cost.contention_factors | ({sha256: share | {part: share[part] * factor}} if share else {}),
        regression={
            name: value * (factor if name.startswith(f"{part}_s") else 1.0) for name, value in cost.regression.items()
        },
    )


def _dealt(inputs: list[TrainerInput], header: Header, per_host: int) -> tuple[list[TrainerInput], Header]:
    """The minibatches of every trainer dealt out among more."""
    times, left = divmod(per_host, header.cluster.trainers_per_host)
    if left or not times:
        raise InputError(
            f"--trainers-per-host {per_host}: the captured run had {header.cluster.trainers_per_host}; give a multiple"
        )
    per_epoch, left = divmod(header.minibatches_per_epoch, times)
    if not per_epoch:
        raise InputError(
            f"--trainers-per-host {per_host}: an epoch has {header.minibatches_per_epoch} minibatches only"
        )
    dealt: list[TrainerInput] = []
    for one in inputs:
        if isinstance(one.stream, EpochStream):
            raise InputError("--trainers-per-host: the trace is too large for this machine's memory")
        for turn in range(times):
            epochs = np.arange(header.epochs)[:, None] * header.minibatches_per_epoch
            kept = (epochs + np.arange(per_epoch) * times + turn).ravel()
            dealt.append(replace(_picked(one, kept), rank=len(dealt)))
    cluster = header.cluster.model_copy(update={"trainers_per_host": per_host})
    changes = {"cluster": cluster, "minibatches_per_epoch": per_epoch, "trainer_minibatches": ()}
    changes["trainer_partitions"] = tuple(part for part in header.trainer_partitions for _ in range(times))
    return dealt, header.model_copy(update=changes)


def _picked(one: TrainerInput, kept: NDArray[np.int64]) -> TrainerInput:
    """Some minibatches of a trainer."""
    stream = one.stream
    lists = [stream.minibatch(minibatch) for minibatch in kept.tolist()]
    return replace(
        one,
        stream=Stream(
            universe=stream.universe,
            ids=np.concatenate(lists),
            offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in lists])]),
            remote_rows=stream.remote_rows[kept],
            halo_rows=stream.halo_rows[kept],
        ),
        owner_rows=one.owner_rows[kept],
        local_rows=one.local_rows[kept],
        sampled_edges=one.sampled_edges[kept],
        times={name: values[kept] for name, values in one.times.items()},
    )


def read_owners(path: Path) -> NDArray[np.int64]:
    """The array of a `.npy` file. Raises `InputError` for a file that is none."""
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except OSError as error:
        raise InputError(f"--owners {path}: can't be read ({error})") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"--owners {path}: no .npy file ({error})") from None


def repartitioned(inputs: list[TrainerInput], header: Header, owners: NDArray[np.int64]) -> list[TrainerInput]:
    """The same run where node n belongs to host `owners[n]`.

    A trace does not have the ids that a trainer's own host held: those rows stay where they are. Rows that move to it
    are asked of its server, across no link. Raises `InputError` for owners that can't be.
    """
    nodes, hosts = header.partition.offsets[-1], header.partition.parts
    if owners.shape != (nodes,) or not np.issubdtype(owners.dtype, np.integer):
        found = f"{owners.dtype} of shape {owners.shape}"
        raise InputError(f"--owners: must hold one whole number for each of {nodes} nodes, not {found}")
    if len(owners) and not 0 <= int(owners.min()) <= int(owners.max()) < hosts:
        raise InputError(f"--owners: hosts are 0 to {hosts - 1}, not {owners.min()} to {owners.max()}")
    moved = []
    for one in inputs:
        stream = one.stream
        if isinstance(stream, EpochStream):
            raise InputError("--owners: the trace is too large for this machine's memory")
        owner_of = owners[stream.universe.node_ids].astype(np.int16)
        minibatch = np.repeat(np.arange(stream.minibatches), np.diff(stream.offsets)) * hosts
        count = stream.minibatches * hosts
        before = np.bincount(minibatch + one.owner_of[stream.ids], minlength=count)
        after = np.bincount(minibatch + owner_of[stream.ids], minlength=count)
        rows = one.owner_rows + (after - before).reshape(-1, hosts)
        moved.append(replace(one, owner_of=owner_of, owner_rows=rows))
    return moved
