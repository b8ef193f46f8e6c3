"""The cluster as a graph: hosts, a switch, and links with rate and latency between them."""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.header import Header

UNSHAPED_BYTES_PER_S = 1e15
"""A link that limits nothing: what it costs to move a row is then in the cost model alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """A topology as arrays. Link l carries `bytes_per_s[l]`; `paths[source, target]` are the links from one host to
    another, padded with -1, and `latency_s[source, target]` the time that a first byte takes."""

    bytes_per_s: NDArray[np.float64]
    paths: NDArray[np.int32]
    latency_s: NDArray[np.float64]


def star(hosts: tuple[str, ...], bytes_per_s: float, latency_s: float = 0.0) -> nx.DiGraph:
    """Every host on one switch, its link `bytes_per_s` wide in either direction; `latency_s` is a link's."""
    graph = nx.DiGraph()
    for host in hosts:
        graph.add_edge(host, "switch", bytes_per_s=bytes_per_s, latency_s=latency_s)
        graph.add_edge("switch", host, bytes_per_s=bytes_per_s, latency_s=latency_s)
    return graph


def from_header(header: Header, link_bytes_per_s: float | None) -> nx.DiGraph:
    """The cluster that a trace was captured on, with another link rate if one is given."""
    rate = link_bytes_per_s or header.cluster.link_bytes_per_s or UNSHAPED_BYTES_PER_S
    return star(header.cluster.hosts, rate)


def links(graph: nx.DiGraph, hosts: tuple[str, ...]) -> Links:
    """Routes between all pairs of `hosts` along shortest paths. Raises `InputError` for what can't be a cluster."""
    index = {edge: number for number, edge in enumerate(graph.edges)}
    for (source, target), edge in zip(graph.edges, graph.edges.values(), strict=True):
        if not edge["bytes_per_s"] > 0 or edge["latency_s"] < 0:
            raise InputError(f"link {source} to {target}: its rate must be above 0 and its latency not below 0")
    routes: dict[tuple[int, int], list[int]] = {}
    for source_number, source in enumerate(hosts):
        for target_number, target in enumerate(hosts):
            try:
                route = nx.shortest_path(graph, source, target)
            except (nx.NodeNotFound, nx.NetworkXNoPath):
                raise InputError(f"the cluster has no path from host {source} to host {target}") from None
            routes[source_number, target_number] = [index[edge] for edge in nx.utils.pairwise(route)]
    edges = list(graph.edges.values())
    paths = np.full((len(hosts), len(hosts), max(map(len, routes.values()))), -1, np.int32)
    latency_s = np.zeros((len(hosts), len(hosts)))
    for (source_number, target_number), route in routes.items():
        paths[source_number, target_number, : len(route)] = route
        latency_s[source_number, target_number] = sum(edges[link]["latency_s"] for link in route)
    return Links(np.array([edge["bytes_per_s"] for edge in edges]), paths, latency_s)
