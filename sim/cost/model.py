"""What the parts of a minibatch cost, fitted from traces: data with provenance, kept apart from any policy."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from traces.errors import InputError

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
"""Parts of a minibatch of which a cost model has a share; `sim.cost.service_demand` tells which measured times they
are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Work in seconds of a core that nothing else uses, beside what the links take.

    A trainer spends `request_s` on a fetch from any remote owner at all and `scatter_s_per_row` on putting a row in its
    place; an owner's server spends `server_s` on a request and `server_s_per_row` on a row of features. While rows
    cross links, threads beside the server spend `transfer_s_per_byte` on moving them through sockets. A trainer spends
    `step_overhead_s` in every step between preparing and computing where these take turns, and `handoff_latency_s`
    where one thread hands the minibatch over to the other. With a buffer, it looks every remote row up, at
    `buffer_s_per_row`. While both threads of a trainer work, they share the interpreter's lock, so that a job takes
    `gil_slowdown` times as long. `link_efficiency` is the part of a link's rate that carries payload. DistDGL writes a
    message in several pieces, the first of them small. If the last one is small, too, TCP holds it back until the first
    has been acknowledged (Nagle's algorithm in Minshall's variant, as Linux has it): `nagle_delays` is how often that
    makes a short message wait. When the last one of a long message is written, the first has been acknowledged long
    since.

    The rest of a minibatch takes a share of what it took in the captured run, less than 1 where processes shared cores
    or waited for each other: `contention_factors` has one by part for every trace that this was fitted on, by its
    SHA-256. Other runs follow `regression`: seconds by name, as in `sim.cost.service_demand.REGRESSION`, around which
    work spreads with `lognormal_sigma`, the standard deviation of its logarithm; and in every step one trainer, in
    turn, is late by `straggler_delay_s`, as threads are that share cores. Without any laws, shares are 1.
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
        numbers = {one.name for one in fields(CostModel)} - {"contention_factors", "regression", "fitted_on"}
        for name, value in [(name, found[name]) for name in numbers] + list(found["regression"].items()):
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InputError(f"--cost {path}: {name} is {value!r}; it must be a number of at least 0")
        return CostModel(**found)
    except OSError as error:
        raise InputError(f"--cost {path}: can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--cost {path}: no cost model ({error!r}); `python -m sim.calibrate` writes one") from None


def cost_document(cost: CostModel, provenance: dict[str, Any]) -> str:
    """A cost model with where it comes from, as JSON."""
    return json.dumps({"cost": asdict(cost)} | provenance, indent=2, sort_keys=True) + "\n"
