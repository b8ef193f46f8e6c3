"""The cluster as a graph: hosts with cores, switches, and links with rate and latency between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from traces.errors import InputError
from traces.header import Header

UNSHAPED_BYTES_PER_S = 1e15
"""The rate of a link that limits nothing; the cost model alone gives the cost of a row."""

ONE_MACHINE = ("namespaces", "userns", "loopback")
"""Forms of a captured cluster whose hosts are parts of one machine and share its cores."""

SHAPED = ("namespaces", "userns")
"""Forms whose links are shaped by `tc`, with the burst and the window of `traces.cluster.namespaces`."""

SHAPER_BURST_S, SHAPER_WINDOW_S, SHAPER_LEAST_BYTES = 0.004, 0.002, 65536

WINDOW_UNIT_BYTES = 65535
"""TCP's windows are so many bytes, doubled as often as it takes: Linux makes 131070 of 65536, as `ss -ti` shows."""


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """A topology as arrays. Link l carries `bytes_per_s[l]`, and up to `burst_bytes[l]` at once after a pause;
    `paths[source, target]` are the links from one host to another, padded with -1, and `latency_s[source, target]` the
    time that a first byte takes. `index` has the number of each link by its two ends."""

    bytes_per_s: NDArray[np.float64]
    burst_bytes: NDArray[np.float64]
    paths: NDArray[np.int64]
    latency_s: NDArray[np.float64]
    index: dict[tuple[str, str], int]


def star(hosts: tuple[str, ...], bytes_per_s: float, latency_s: float = 0.0, burst_bytes: float = 0.0) -> nx.DiGraph:
    """Every host on one switch, its link `bytes_per_s` wide in either direction; `latency_s` is a link's."""
    graph = nx.DiGraph()
    for host in hosts:
        for ends in ((host, "switch"), ("switch", host)):
            graph.add_edge(*ends, bytes_per_s=bytes_per_s, latency_s=latency_s, burst_bytes=burst_bytes)
    return graph


def from_header(header: Header, link_bytes_per_s: float | None) -> nx.DiGraph:
    """The cluster that a trace was captured on, with another link rate if one is given.

    A host has a `pool` of cores; hosts of one machine share one. The graph's `cores` are those of each pool, and
    `window_bytes` is what a connection may have under way. Raises `InputError` for another rate on hosts of which the
    captured one isn't known.
    """
    cluster = header.cluster
    if link_bytes_per_s and cluster.link_bytes_per_s is None and cluster.form not in ONE_MACHINE:
        raise InputError(
            "--link: the rate of the captured run's own links isn't known, so that what they took is in the times of "
            "fetches already and would count twice; record a run with its rate (python -m traces.record --link)"
        )
    rate = link_bytes_per_s or cluster.link_bytes_per_s or UNSHAPED_BYTES_PER_S
    shaped = cluster.form in SHAPED and rate < UNSHAPED_BYTES_PER_S
    burst = max(SHAPER_LEAST_BYTES, rate * SHAPER_BURST_S) if shaped else 0.0
    graph = star(cluster.hosts, rate, burst_bytes=burst)
    graph.graph["window_bytes"] = shaper_window_bytes(rate) if shaped else 0.0
    one_machine = cluster.form in ONE_MACHINE
    for number, host in enumerate(cluster.hosts):
        graph.nodes[host]["pool"] = 0 if one_machine else number
    graph.graph["cores"] = [float(cluster.cores)] * (1 if one_machine else len(cluster.hosts))
    return graph


def shaper_window_bytes(bytes_per_s: float) -> float:
    """The bytes that a connection can have in flight over a link of that rate."""
    asked = max(SHAPER_LEAST_BYTES, bytes_per_s * SHAPER_WINDOW_S)
    return WINDOW_UNIT_BYTES * 2.0 ** math.ceil(math.log2(asked / WINDOW_UNIT_BYTES))


def links(graph: nx.DiGraph, hosts: tuple[str, ...]) -> Links:
    """Routes between all pairs of `hosts` along shortest paths. Raises `InputError` for what can't be a cluster."""
    index = {edge: number for number, edge in enumerate(graph.edges)}
    for (source, target), edge in zip(graph.edges, graph.edges.values(), strict=True):
        if not edge["bytes_per_s"] > 0 or edge["latency_s"] < 0:
            raise InputError(f"link {source} to {target}: its rate must be above 0 and its latency not below 0")
    edges = list(graph.edges.values())
    ways = dict(nx.all_pairs_shortest_path(graph))
    routes: dict[tuple[int, int], list[int]] = {}
    for source_number, source in enumerate(hosts):
        for target_number, target in enumerate(hosts):
            way = ways.get(source, {}).get(target)
            if way is None:
                raise InputError(f"the cluster has no path from host {source} to host {target}")
            routes[source_number, target_number] = [index[edge] for edge in nx.utils.pairwise(way)]
    paths = np.full((len(hosts), len(hosts), max(1, *map(len, routes.values()))), -1, np.int64)
    latency_s = np.zeros((len(hosts), len(hosts)))
    for (source_number, target_number), route in routes.items():
        paths[source_number, target_number, : len(route)] = route
        latency_s[source_number, target_number] = sum(edges[link]["latency_s"] for link in route)
    return Links(
        np.array([edge["bytes_per_s"] for edge in edges]),
        np.array([edge["burst_bytes"] for edge in edges]),
        paths,
        latency_s,
        index,
    )
