"""The header of a trace: JSON in the parquet file's metadata, under the key `rudder_twin`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from traces.errors import InputError

FORMAT_VERSION = 2
"""The version that is written. Version 1, which has no node types and no missing times, is read as well."""


SAMPLED = "none: sampled offline"
"""The clock of a run that never was: the trace's minibatches were sampled by `traces.sample`."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GraphInfo(_Frozen):
    """The graph that was partitioned. `scale_note` says what a synthetic graph models."""

    name: str
    kind: Literal["real", "synthetic", "unstated"]
    scale_note: str = ""
    checksum: str = ""
    nodes: int = Field(gt=0)
    edges: int = Field(ge=0)
    feature_dim: int = Field(gt=0)
    feature_dtype: str
    feature_bytes: int = Field(gt=0, description="bytes of one node's row of features; of the widest node type's")
    classes: int = Field(ge=0)


class FeatureInfo(_Frozen):
    """One kind of node data that a run fetched for input nodes. Rows that training writes are `trainable`."""

    name: str
    dtype: str
    row_bytes: int = Field(gt=0)
    trainable: bool = False


class NodeType(_Frozen):
    """A node type: partition p owns its partition-global ids `ranges[p][0]` to `ranges[p][1] - 1`."""

    name: str
    ranges: tuple[tuple[int, int], ...]
    features: tuple[FeatureInfo, ...] = ()
    remote_rows: int = Field(default=0, ge=0, description="rows of it that all trainers asked other hosts for")

    @property
    def cached_bytes(self) -> int:
        """Bytes of a row that a buffer may hold."""
        return sum(one.row_bytes for one in self.features if not one.trainable)

    @property
    def written_bytes(self) -> int:
        """Bytes of a row that training updates; they can't be cached."""
        return sum(one.row_bytes for one in self.features if one.trainable)


class PartitionInfo(_Frozen):
    """The partition book: partition p owns the partition-global ids `offsets[p]` to `offsets[p + 1] - 1`."""

    parts: int = Field(gt=0)
    method: str
    offsets: tuple[int, ...]
    edge_cut: int | None = Field(default=None, description="edges between partitions, as the partitioner counts them")

    @model_validator(mode="after")
    def _ascending(self) -> PartitionInfo:
        if len(self.offsets) != self.parts + 1 or list(self.offsets) != sorted(self.offsets) or self.offsets[0] != 0:
            raise ValueError(f"partition.offsets must be {self.parts + 1} ascending numbers from 0")
        return self


class ClusterInfo(_Frozen):
    """The hosts, one a partition. `link_bytes_per_s` is None where links were not shaped."""

    form: str
    hosts: tuple[str, ...]
    trainers_per_host: int = Field(gt=0)
    servers_per_host: int = Field(gt=0)
    cores: int = Field(gt=0, description="cores that all hosts share, where they are namespaces of one machine")
    link_bytes_per_s: float | None = Field(default=None, gt=0)


class TrainingInfo(_Frozen):
    """What was trained. `fanout` is in DGL's order: the last entry is the hop of the seeds; -1 stands for all
    neighbours. `hidden` is None where the run didn't say."""

    model: str
    hidden: int | None = Field(default=None, gt=0)
    gradient_bytes: int = Field(ge=0, description="bytes that an all-reduce sums up")
    fanout: tuple[int, ...]
    batch_size: int = Field(gt=0, description="seeds a minibatch a trainer")
    depth: int | None = Field(default=None, ge=0, description="minibatches prepared ahead; else as the policy says")
    seed: int
    device: str = Field(default="cpu", description="what trainers computed on: cpu or cuda")
    samplers: int = Field(default=0, ge=0, description="processes a trainer that sampled for it; 0: it did so itself")


class OverheadInfo(_Frozen):
    """What recording cost: recorded against plain minibatches, interleaved in the same run, same fetch path apart.

    `step_share` is the mean step with recording over the mean step without, less 1, with its standard error over the
    pairs; `recorder_share` is the time spent inside the recorder's own calls over the epoch time.
    """

    step_share: float
    step_share_standard_error: float
    pairs: int
    recorder_share: float


class Header(_Frozen):
    """Everything about a captured run except its rows. `complete` is False for a run that ended early.

    `node_types` is empty for a graph of one type, whose rows have `graph.feature_bytes` bytes that training doesn't
    update. `trainer_partitions` gives each trainer's partition, where that doesn't follow from its rank.
    `trainer_minibatches` gives each trainer's minibatches an epoch, where they differ; `minibatches_per_epoch` is then
    their maximum. `seed_hosts` gives the other hosts that own some of each trainer's training nodes, where known.
    """

    format_version: Literal[1, 2] = FORMAT_VERSION  # type: ignore[assignment]
    graph: GraphInfo
    partition: PartitionInfo
    cluster: ClusterInfo
    training: TrainingInfo
    epochs: int = Field(ge=0)
    minibatches_per_epoch: int = Field(gt=0)
    node_types: tuple[NodeType, ...] = ()
    trainer_partitions: tuple[int, ...] = ()
    trainer_minibatches: tuple[int, ...] = ()
    seed_hosts: tuple[tuple[int, ...], ...] = ()
    policy: str = Field(default="none", description="the policy that the captured run itself used")
    overhead: OverheadInfo | None = None
    complete: bool
    versions: dict[str, str]
    date: str
    command: str
    clock: str = Field(description="what start_s counts from, and how the hosts' clocks were aligned")

    @model_validator(mode="after")
    def _a_value_a_trainer(self) -> Header:
        for name in ("trainer_partitions", "trainer_minibatches", "seed_hosts"):
            if len(values := getattr(self, name)) not in (0, self.trainers):
                raise ValueError(f"{name} has {len(values)} values for {self.trainers} trainers")
        if any(not 0 <= part < self.partition.parts for part in self.trainer_partitions):
            raise ValueError(f"trainer_partitions must be numbers from 0 to {self.partition.parts - 1}")
        if self.trainer_minibatches and max(self.trainer_minibatches) != self.minibatches_per_epoch:
            raise ValueError("minibatches_per_epoch is not the most of trainer_minibatches")
        if any(len(one.ranges) != self.partition.parts for one in self.node_types):
            raise ValueError(f"every node type needs {self.partition.parts} ranges, one a partition")
        return self

    @property
    def trainers(self) -> int:
        """Number of trainers."""
        return self.partition.parts * self.cluster.trainers_per_host

    def partition_of(self, rank: int) -> int:
        """The partition on the host of trainer `rank`; hosts have the same numbers."""
        return self.trainer_partitions[rank] if self.trainer_partitions else rank // self.cluster.trainers_per_host

    def minibatches_of(self, rank: int) -> int:
        """Minibatches an epoch of trainer `rank`."""
        return self.trainer_minibatches[rank] if self.trainer_minibatches else self.minibatches_per_epoch

    @property
    def fetched_row_bytes(self) -> float:
        """Bytes of a remote row: of node types of several widths the mean over the rows that the run asked for."""
        rows = sum(one.remote_rows for one in self.node_types)
        if not rows:
            return float(self.graph.feature_bytes)
        return sum(one.remote_rows * (one.cached_bytes + one.written_bytes) for one in self.node_types) / rows

    @property
    def sampled(self) -> bool:
        """Whether the minibatches were sampled offline, so that there are no measured times."""
        return self.clock == SAMPLED

    @property
    def notice(self) -> str:
        """The warning to print first, if the graph is synthetic, or the run sampled or incomplete; else empty."""
        parts = []
        if self.graph.kind == "synthetic":
            note = self.graph.scale_note.removeprefix("synthetic, ") or self.graph.name
            parts.append(f"SYNTHETIC graph: {note}")
        if self.sampled:
            parts.append("SAMPLED offline: no run was captured")
        if not self.complete:
            parts.append(f"INCOMPLETE: the captured run ended after {self.epochs} whole epochs")
        return "; ".join(parts)


def parse_header(text: bytes | str, file: str) -> Header:
    """Read a header. Raises `InputError` naming the file, the version or the field that is wrong."""
    try:
        return Header.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        if field == "format_version":
            raise InputError(
                f"{file}: trace format version {first['input']!r}; this program reads versions 1 and {FORMAT_VERSION}"
            ) from None
        raise InputError(f"{file}: header field {field or '(all)'}: {first['msg']}") from None
