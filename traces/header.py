"""Where a trace comes from: the JSON header that travels in the parquet file's metadata under `rudder_twin`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from traces.errors import InputError

FORMAT_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class GraphInfo(_Frozen):
    """The graph as it was given to the partitioner. `scale_note` says what a synthetic one is a model of."""

    name: str
    kind: Literal["real", "synthetic"]
    scale_note: str = ""
    checksum: str = ""
    nodes: int = Field(gt=0)
    edges: int = Field(ge=0)
    feature_dim: int = Field(gt=0)
    feature_dtype: str
    feature_bytes: int = Field(gt=0, description="bytes of one node's row of features")
    classes: int = Field(ge=0)


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
    """The hosts that ran, one a partition. `link_bytes_per_s` is None where links were not shaped."""

    form: str
    hosts: tuple[str, ...]
    trainers_per_host: int = Field(gt=0)
    servers_per_host: int = Field(gt=0)
    cores: int = Field(gt=0, description="cores that all hosts share, where they are namespaces of one machine")
    link_bytes_per_s: float | None = Field(default=None, gt=0)


class TrainingInfo(_Frozen):
    """What was trained. `fanout` is in DGL's order: the last entry is the hop of the seeds."""

    model: str
    hidden: int = Field(gt=0)
    gradient_bytes: int = Field(ge=0, description="bytes that an all-reduce sums up")
    fanout: tuple[int, ...]
    batch_size: int = Field(gt=0, description="seeds a minibatch a trainer")
    depth: int | None = Field(default=None, ge=0, description="minibatches prepared ahead; else as the policy says")
    seed: int
    device: str = Field(default="cpu", description="what trainers computed on: cpu or cuda")


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
    """All that is known of a captured run beside its rows. `complete` is False where the run died early."""

    format_version: Literal[1] = FORMAT_VERSION  # type: ignore[assignment]
    graph: GraphInfo
    partition: PartitionInfo
    cluster: ClusterInfo
    training: TrainingInfo
    epochs: int = Field(ge=0)
    minibatches_per_epoch: int = Field(gt=0)
    policy: str = Field(default="none", description="the policy that the captured run itself used")
    overhead: OverheadInfo | None = None
    complete: bool
    versions: dict[str, str]
    date: str
    command: str
    clock: str = Field(description="what start_s counts from, and how the hosts' clocks were aligned")

    @property
    def trainers(self) -> int:
        """Number of trainers; rank r runs on host r // trainers_per_host, which owns the partition of that number."""
        return self.partition.parts * self.cluster.trainers_per_host

    def partition_of(self, rank: int) -> int:
        """The partition that trainer `rank` runs beside."""
        return rank // self.cluster.trainers_per_host

    @property
    def notice(self) -> str:
        """What a reader must know before anything else: empty for a real graph and a complete run."""
        parts = []
        if self.graph.kind == "synthetic":
            note = self.graph.scale_note.removeprefix("synthetic, ") or self.graph.name
            parts.append(f"SYNTHETIC graph: {note}")
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
                f"{file}: trace format version {first['input']!r}; this program reads version {FORMAT_VERSION}"
            ) from None
        raise InputError(f"{file}: header field {field or '(all)'}: {first['msg']}") from None
