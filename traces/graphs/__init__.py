"""Graphs to capture a run on: one module a source, each with a `build` function that returns a `Graph`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import InputError

if TYPE_CHECKING:  # numpy is imported by the source that is built, not to list them
    from traces.graphs.graph import Graph, Report


@dataclass(frozen=True)
class Source:
    """Where a graph comes from: the names it answers to, the module that builds it, and what it is."""

    pattern: str
    module: str
    summary: str


SOURCES = (
    Source("debian", "traces.graphs.debian", "Debian packages and what they depend on, from apt-cache"),
    Source("linux", "traces.graphs.linux", "functions of the Linux kernel and what they call, from its source package"),
    Source("papers100m-synthetic", "traces.graphs.papers100m_synthetic", "ogbn-papers100M's shape, reduced"),
    Source("ogbn-*", "traces.graphs.ogbn", "a node property data set of the Open Graph Benchmark"),
)


def build(name: str, report: Report, **options: int | Path) -> Graph:
    """The graph called `name`, built with the source's own `options` (see the `build` of its module).

    Raises `InputError` on a name that no source answers to, and on an option that the source doesn't take.
    """
    source = next((source for source in SOURCES if fnmatchcase(name, source.pattern)), None)
    if source is None:
        known = ", ".join(source.pattern for source in SOURCES)
        raise InputError(f"graph {name!r}: there is no such source; choose one of {known}")
    build_source: Callable[..., Graph] = import_module(source.module).build
    parameters = inspect.signature(build_source).parameters
    accepted = set(parameters) - {"name", "report"}
    for option in options:
        if option not in accepted:
            takes = ", ".join(f"--{one}" for one in sorted(accepted)) or "no options"
            raise InputError(f"--{option}: {name} doesn't take it; it takes {takes}")
    named = {"name": name} if "name" in parameters else {}  # only ogbn's module builds more than one graph
    return build_source(report=report, **named, **options)
