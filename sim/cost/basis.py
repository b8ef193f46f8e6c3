"""What runs a cost model was fitted on: what runs that nobody made take over from them, and where it extrapolates."""

from __future__ import annotations

from dataclasses import dataclass, field

from traces.header import ClusterInfo, GraphInfo, Header, TrainingInfo

QUANTITIES = {
    "sampled_edges": "sampled edges a minibatch",
    "local_rows": "local rows a minibatch",
    "input_rows": "input nodes a minibatch",
    "remote_rows": "remote rows a minibatch",
    "trainers": "trainers",
    "trainers_per_host": "trainers a host",
    "hops": "hops",
}
"""What times depend on, and how to call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Of the runs that a cost model was fitted on: the least and the most of every one of `QUANTITIES`, the standard
    errors of what was fitted, and of the first of them its cluster, its model and its graph, as in its header."""

    ranges: dict[str, tuple[float, float]]
    errors: dict[str, float] = field(default_factory=dict)
    copy_s_per_row: float = 0.0
    cluster: ClusterInfo
    training: TrainingInfo
    graph: GraphInfo

    @property
    def hops(self) -> int:
        """Hops of the first run."""
        return len(self.training.fanout)

    def gradient_bytes(self, hops: int) -> int:
        """What an all-reduce sums up where the model has so many layers: those of GraphSAGE in between are as wide as
        it is, each with two matrices and a bias of 4 bytes a number. Other models are taken as they are."""
        width = self.training.hidden
        if self.training.model != "GraphSAGE" or width is None or self.hops < 2 or hops < 2:
            return self.training.gradient_bytes
        return self.training.gradient_bytes + (hops - self.hops) * 4 * (2 * width * width + width)

    def taken_over(self, header: Header) -> Header:
        """The header of a sampled run as if it had been trained on this cluster, with as many hosts as it has."""
        cluster = self.cluster.model_copy(
            update={"hosts": header.cluster.hosts, "trainers_per_host": header.cluster.trainers_per_host}
        )
        model = {name: getattr(self.training, name) for name in ("model", "hidden", "device", "samplers")}
        gradients = {"gradient_bytes": self.gradient_bytes(len(header.training.fanout))}
        training = header.training.model_copy(update=model | gradients)
        return header.model_copy(update={"cluster": cluster, "training": training})
