"""`cluster.toml`: another cluster than the captured one, with the same hosts.

```toml
cores = 8                        # of every host; or shared_cores = 2 for all hosts together
agent_cores = 2                  # cores of its trainer's host that a deciding policy keeps busy (0: it runs elsewhere)
agent_latency_s = 2.0            # median latency of any policy's answers (default: as measured)
agent_latency_spread = 0.5       # the standard deviation of its logarithm

[link]                           # of every host, in either direction
rate = "1gbit"
latency_s = 50e-6
burst_bytes = 0                  # bytes that pass at once after a pause
window_bytes = 65536             # bytes that a connection may have in flight

[[host]]                         # differences at one host
name = "machine1"
rate = "100mbit"
cores = 4

[[rack]]                         # hosts behind a switch of their own
name = "rack0"
hosts = ["machine0", "machine1"]
oversubscription = 4             # their links together, over the uplink
latency_s = 5e-6
```

Omitted values stay as captured. Hosts outside of racks are connected to the core switch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    PositiveFloat,
    field_validator,
    model_validator,
)

from sim.cluster.topology import from_header
from sim.config_files import from_toml
from traces.cluster.link import parse_link
from traces.errors import InputError
from traces.header import Header

if TYPE_CHECKING:
    import networkx as nx

    from sim.config import RunConfig


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Linked(_Part):
    rate: str | None = None
    latency_s: NonNegativeFloat | None = None

    @field_validator("rate")
    @classmethod
    def _readable(cls, rate: str | None) -> str | None:
        try:
            if rate is not None:
                parse_link(rate)
        except InputError as error:
            raise ValueError(str(error)) from None
        return rate


class LinkPart(_Linked):
    """The links of all hosts."""

    burst_bytes: NonNegativeFloat | None = None
    window_bytes: NonNegativeFloat | None = None


class HostPart(_Linked):
    """What is different at one host."""

    name: str
    cores: PositiveFloat | None = None


class RackPart(_Part):
    """Hosts with a switch of their own."""

    name: str
    hosts: tuple[str, ...]
    oversubscription: PositiveFloat = 1.0
    latency_s: NonNegativeFloat = 0.0


class ClusterFile(_Part):
    """What a `cluster.toml` says."""

    cores: PositiveFloat | None = None
    shared_cores: PositiveFloat | None = None
    agent_cores: NonNegativeFloat = 0.0
    agent_latency_s: PositiveFloat | None = None
    agent_latency_spread: NonNegativeFloat = 0.0
    link: LinkPart = LinkPart()
    host: tuple[HostPart, ...] = ()
    rack: tuple[RackPart, ...] = ()

    @model_validator(mode="after")
    def _spread_of_something(self) -> ClusterFile:
        if self.agent_latency_spread and self.agent_latency_s is None:
            raise ValueError("agent_latency_spread needs agent_latency_s, around which latencies spread")
        return self


def read_cluster(file: Path | str | Mapping[str, Any]) -> ClusterFile:
    """Read a `cluster.toml`, or what one would say. Raises `InputError` for what is none."""
    return from_toml(ClusterFile, file, "--cluster")


def agent_latency(config: RunConfig) -> tuple[float, float] | None:
    """Median in seconds and spread of policies' latencies; None if the file doesn't set them."""
    said = ClusterFile.model_validate_json(config.cluster) if config.cluster else ClusterFile()
    return None if said.agent_latency_s is None else (said.agent_latency_s, said.agent_latency_spread)


def cluster_of(header: Header, config: RunConfig) -> nx.DiGraph:
    """The cluster that a configuration means, as `sim.cluster.topology.from_header` describes one.

    The configuration's own link rate and latency take precedence over those of its file. Raises `InputError` for
    unknown hosts, and for hosts in two racks.
    """
    said = ClusterFile.model_validate_json(config.cluster) if config.cluster else ClusterFile()
    rate = config.link_bytes_per_s or (parse_link(said.link.rate) if said.link.rate else None)
    graph = from_header(header, rate)
    hosts = header.cluster.hosts
    graph.graph["agent_cores"] = said.agent_cores
    if said.link.window_bytes is not None:
        graph.graph["window_bytes"] = said.link.window_bytes
    latency_s = config.link_latency_s if config.link_latency_s is not None else said.link.latency_s
    for edge in graph.edges.values():
        edge["latency_s"] = edge["latency_s"] if latency_s is None else latency_s
        edge["burst_bytes"] = edge["burst_bytes"] if said.link.burst_bytes is None else said.link.burst_bytes
    if said.cores is not None or said.shared_cores is not None:
        _share_cores(graph, hosts, said)
    for one in said.host:
        _known(one.name, hosts)
        for ends in ((one.name, "switch"), ("switch", one.name)):
            if one.rate is not None and config.link_bytes_per_s is None:
                graph.edges[ends]["bytes_per_s"] = parse_link(one.rate)
            if one.latency_s is not None and config.link_latency_s is None:
                graph.edges[ends]["latency_s"] = one.latency_s
        if one.cores is not None:
            graph.nodes[one.name]["pool"] = len(graph.graph["cores"])
            graph.graph["cores"] = [*graph.graph["cores"], one.cores]
    for rack in said.rack:
        _add_rack(graph, rack, hosts)
    return graph


def _share_cores(graph: nx.DiGraph, hosts: tuple[str, ...], said: ClusterFile) -> None:
    if said.cores is not None and said.shared_cores is not None:
        raise InputError("the cluster has both cores and shared_cores; a core belongs to one host, or to all")
    graph.graph["cores"] = [said.shared_cores] if said.cores is None else [said.cores] * len(hosts)
    for number, host in enumerate(hosts):
        graph.nodes[host]["pool"] = 0 if said.cores is None else number


def _add_rack(graph: nx.DiGraph, rack: RackPart, hosts: tuple[str, ...]) -> None:
    """Move hosts from the core switch to a rack's."""
    if rack.name in graph:
        raise InputError(f"the cluster's rack {rack.name!r} has the name of something else")
    wide = 0.0
    for host in rack.hosts:
        _known(host, hosts)
        if not graph.has_edge(host, "switch"):
            raise InputError(f"the cluster's host {host!r} stands in two racks")
        wide += graph.edges[host, "switch"]["bytes_per_s"]
        for old, new in (((host, "switch"), (host, rack.name)), (("switch", host), (rack.name, host))):
            graph.add_edge(*new, **graph.edges[old])
            graph.remove_edge(*old)
    if not rack.hosts:
        raise InputError(f"the cluster's rack {rack.name!r} has no hosts")
    for ends in ((rack.name, "switch"), ("switch", rack.name)):
        graph.add_edge(*ends, bytes_per_s=wide / rack.oversubscription, latency_s=rack.latency_s, burst_bytes=0.0)


def _known(host: str, hosts: tuple[str, ...]) -> None:
    if host not in hosts:
        raise InputError(f"the cluster names host {host!r}; the trace has {', '.join(hosts)}")
