"""What the parts of a minibatch cost, fitted from traces: data with provenance, kept apart from any policy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sim.cost.basis import Basis
from traces.errors import InputError
from traces.header import ClusterInfo, GraphInfo, TrainingInfo

LINK_EFFICIENCY = 1448 / 1514
"""Payload over bytes on the wire: TCP with time stamps in Ethernet frames of 1514 bytes, which is what `tc` counts."""

ID_BYTES = 8
"""A node id in a request."""

EDGE_BYTES = 24
"""A sampled edge in a response: source, destination and edge id."""

SERVED_SHARE = 1 / 3
"""The part of sampling a layer that a server does for the nodes that it owns; the rest (taking the nodes apart by
owner before, putting the graph together after) is the trainer's, a third before and a third after."""

PARTS = ("sample", "gather", "label", "compute", "update", "allreduce")
"""Parts of a minibatch with a contention factor; `sim.cost.service_demand` says which measured times they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """What the parts of a minibatch cost: seconds of a core that nothing else uses.

    | parameter | unit | of whom, for what |
    |---|---|---|
    | `request_s` | s | trainer, for a fetch from any remote owners at all |
    | `scatter_s_per_row` | s/row | trainer, for putting a fetched row in its place |
    | `buffer_s_per_row` | s/row | trainer with a buffer, for looking up a remote row |
    | `step_overhead_s` | s/step | trainer, between preparing and computing where these take turns |
    | `handoff_latency_s` | s/step | trainer, where one thread hands a minibatch to the other |
    | `server_s` | s/request | owner's server |
    | `server_s_per_row` | s/row | owner's server, for a row of features |
    | `transfer_s_per_byte` | s/B | threads beside the server, for moving rows through sockets |
    | `gil_slowdown` | factor | a job, while both threads of its trainer compute and share the interpreter's lock |
    | `nagle_delays` | round trips | a short message, held back until its first piece is acknowledged |
    | `link_efficiency` | share | of a link's rate that carries payload |

    Nagle's delay: DistDGL writes a message in several pieces, the first of them small. TCP holds a small last piece
    back until the first has been acknowledged (Minshall's variant of Nagle's algorithm, as in Linux). A long message's
    first piece has been acknowledged when its last one is written.

    All other parts are measured in the captured run. There, processes shared cores and waited for each other, so the
    demand of a part is its measured time multiplied by a contention factor: `contention_factors[sha256][part]`, for
    every trace that the model was fitted on.

    Other runs follow `regression`: seconds by name, as in `sim.cost.service_demand.REGRESSION`. Their demand is
    log-normal around it, with `lognormal_sigma`. In every step one trainer, in turn, is late by `straggler_delay_s`,
    as threads are that share cores. A model without a regression takes measured times as they are. `basis` tells of the
    runs that it was fitted on, for runs that nobody made (`sim.runs.unseen`).
    """

    request_s: float
    server_s_per_row: float
    scatter_s_per_row: float
    server_s: float = 0.0
    step_overhead_s: float = 0.0
    handoff_latency_s: float = 0.0
    transfer_s_per_byte: float = 0.0
    gil_slowdown: float = 1.0
    nagle_delays: float = 1.0
    buffer_s_per_row: float = 0.0
    lognormal_sigma: float = 0.0
    straggler_delay_s: float = 0.0
    link_efficiency: float = LINK_EFFICIENCY
    contention_factors: dict[str, dict[str, float]] = field(default_factory=dict)
    regression: dict[str, float] = field(default_factory=dict)
    fitted_on: str = ""
    basis: Basis | None = None

    def row_s(self, feature_bytes: float, link_bytes_per_s: float) -> float:
        """What one more row takes over a link that nothing else uses, request and response."""
        on_link_s = (ID_BYTES + feature_bytes) / (link_bytes_per_s * self.link_efficiency)
        moving_s = max(on_link_s, self.transfer_s_per_byte * feature_bytes)
        return moving_s + self.server_s_per_row + self.scatter_s_per_row


RENAMED = {
    "together": "gil_slowdown",
    "acknowledged": "nagle_delays",
    "handover_s": "step_overhead_s",
    "switch_s": "handoff_latency_s",
    "straggle_s": "straggler_delay_s",
    "spread": "lognormal_sigma",
    "shares": "contention_factors",
    "laws": "regression",
}
"""What parameters were called in files of earlier versions."""


def read_cost(path: Path) -> CostModel:
    """The cost model in a file that `python -m sim.calibrate` wrote. Raises `InputError` for a file that is none."""
    try:
        document = json.loads(path.read_text())
        found: dict[str, Any] = {RENAMED.get(name, name): value for name, value in document["cost"].items()}
        numbers = {one.name for one in fields(CostModel)} - {"contention_factors", "regression", "fitted_on", "basis"}
        for name, value in [(name, found[name]) for name in numbers] + list(found["regression"].items()):
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InputError(f"--cost {path}: {name} is {value!r}; it must be a number of at least 0")
        found["basis"] = _basis(found.get("basis"))
        return CostModel(**found)
    except OSError as error:
        raise InputError(f"--cost {path}: can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--cost {path}: no cost model ({error!r}); `python -m sim.calibrate` writes one") from None


def cost_sha256(cost: CostModel) -> str:
    """The SHA-256 of a cost model's parameters, in hexadecimal: what tells runs under it from runs under another."""
    return hashlib.sha256(json.dumps(as_json(cost), sort_keys=True).encode()).hexdigest()


def _basis(found: dict[str, Any] | None) -> Basis | None:
    """What `cost_document` wrote of it; None in files of earlier versions."""
    if found is None:
        return None
    ranges = {name: (float(least), float(most)) for name, (least, most) in found["ranges"].items()}
    headers = {"cluster": ClusterInfo, "training": TrainingInfo, "graph": GraphInfo}
    return Basis(**found | {"ranges": ranges} | {name: kind(**found[name]) for name, kind in headers.items()})


def cost_document(cost: CostModel, provenance: dict[str, Any]) -> str:
    """A cost model with where it comes from, as JSON."""
    return json.dumps({"cost": as_json(cost)} | provenance, indent=2, sort_keys=True) + "\n"


def as_json(cost: CostModel) -> dict[str, Any]:
    """A cost model in values that JSON knows."""
    document = {one.name: getattr(cost, one.name) for one in fields(cost)}
    if cost.basis is not None:
        kept = {one.name: getattr(cost.basis, one.name) for one in fields(cost.basis)}
        document["basis"] = {
            name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in kept.items()
        }
    return document
