"""What the parts of a fetch cost, fitted from a trace: data with provenance, kept apart from any policy."""

from __future__ import annotations

from dataclasses import dataclass

LINK_EFFICIENCY = 1448 / 1514
"""Payload over bytes on the wire: TCP with time stamps in Ethernet frames of 1514 bytes, which is what `tc` counts."""

ID_BYTES = 8
"""A node id in a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Times in seconds, linear in rows, beside what the links take.

    `request_s` is spent by a trainer on a fetch from any remote owner at all, `server_s_per_row` by an owner's server
    on a row, `scatter_s_per_row` by the trainer on putting a row in its place. `link_efficiency` is the part of a
    link's rate that carries payload.
    """

    request_s: float
    server_s_per_row: float
    scatter_s_per_row: float
    link_efficiency: float = LINK_EFFICIENCY
    fitted_on: str = ""

    def row_s(self, feature_bytes: int, link_bytes_per_s: float) -> float:
        """What one more row takes over a link that nothing else uses, request and response."""
        on_link_s = (ID_BYTES + feature_bytes) / (link_bytes_per_s * self.link_efficiency)
        return on_link_s + self.server_s_per_row + self.scatter_s_per_row
