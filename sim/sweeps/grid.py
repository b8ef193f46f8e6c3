"""The configurations of a sweep: all combinations of lists, with equivalent ones counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agents import registry as policies
from agents.user_code import require_trust
from sim.caches import registry as caches
from sim.cluster.scenario import read_scenario
from sim.config import RunConfig
from sim.config_files import read_toml
from sim.runs.choose import meaningless
from sim.runs.twin import checksum
from sim.runs.whatif import AS_CAPTURED
from traces.cluster.link import parse_link
from traces.errors import InputError

NOTHING_WRONG = "none"
"""No scenario."""

SAMPLED = ("parts", "trainers", "batches", "fanouts")
"""Lists that say what is sampled offline; each combination is a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Lists of values, one a dimension, as they are written on the command line."""

    trace: Sequence[str]
    agents: Sequence[str] = ("none", "pipeline", "never", "every:16")
    caches: Sequence[str] = ("score",)
    buffers: Sequence[str] = ("25%",)
    universes: Sequence[str] = ("halo",)
    inits: Sequence[str] = ("degree",)
    windows: Sequence[int | str] = (1,)
    modes: Sequence[str] = ("async",)
    links: Sequence[str] = (AS_CAPTURED,)
    scenarios: Sequence[str] = (NOTHING_WRONG,)
    seeds: Sequence[int | str] = (0,)
    parts: Sequence[int | str] = ()
    trainers: Sequence[int | str] = ()
    batches: Sequence[int | str] = ()
    fanouts: Sequence[str] = ()

    @property
    def sampling(self) -> dict[str, Sequence[int | str]]:
        """The lists that say what is sampled offline, as far as they are given."""
        return {name: values for name in SAMPLED if (values := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class Plan:
    """The distinct configurations of a grid, by id; similar ones are next to each other.

    `combinations` is the number of all combinations, `collapsed` the number of equivalent ones by reason. `files` maps
    checksums to trace files.
    """

    configs: dict[str, RunConfig]
    combinations: int
    collapsed: dict[str, int] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def read_grid(
    path: Path | None, given: Mapping[str, Sequence[str]], trust: bool = False, sampled: bool = False
) -> Grid:
    """The grid of a `sweep.toml`; what is given on the command line takes the place of the file's lists. Where runs are
    `sampled` from a graph, no trace need be named.

    Raises `InputError` for a file that is none, for keys that there are not, for lists that are empty or missing, and
    without `trust` for a file that names code of a user's own.
    """
    lists: dict[str, Any] = {} if path is None else read_toml(path, "--config")
    names = [one.name for one in fields(Grid)]
    for name, values in lists.items():
        if name not in names:
            raise InputError(f"--config {path}: there is no {name!r}; there are {', '.join(names)}")
        if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
            raise InputError(f"--config {path}: {name} must be a list of strings or numbers, as in {name} = [...]")
    code = [
        text
        for key, registered in (("agents", policies.NAMES), ("caches", caches.NAMES))
        for text in ([] if given.get(key) else lists.get(key, []))
        if registered.user_code(text) is not None
    ]
    require_trust(f"--config {path}", code, trust)
    lists |= {name: values for name, values in given.items() if values}
    if sampled:
        lists.setdefault("trace", [])
    elif not lists.get("trace"):
        raise InputError("--trace is missing: name one or more traces, such as traces/debian.parquet")
    for name, values in lists.items():
        if not values and not (sampled and name == "trace"):
            raise InputError(f"--config {path}: {name} is an empty list; leave it out for its default")
    grid = Grid(**lists)
    if grid.sampling and not sampled:
        raise InputError(f"--{next(iter(grid.sampling))} needs --graph or --part-config: what is sampled")
    return grid


def expand(grid: Grid, cost_sha256: str = "") -> Plan:
    """All combinations as configurations, all under the cost model with this checksum.

    A policy without a buffer has none of a buffer's options, a cache that replaces on its own asks no policy, and some
    caches choose by themselves what they hold at first: such combinations are counted once. Raises `InputError` for
    names and values that there are not.
    """
    expanded = Plan({}, 0)
    traces = [(Path(trace), checksum(Path(trace))) for trace in grid.trace]
    expanded.files.update({sha256: path for path, sha256 in traces})
    agents = {agent: policies.resolve(agent) for agent in grid.agents}
    never = policies.resolve("never")
    managed = {cache: caches.cache_class(cache).managed for cache in grid.caches}
    rates = {link: None if link == AS_CAPTURED else parse_link(link) for link in grid.links}
    wrong = {name: "" if name == NOTHING_WRONG else read_scenario(Path(name)).text for name in grid.scenarios}
    combinations = 0
    # In this order, runs that have most in common follow each other: they differ in their links and scenarios.
    for (path, sha256), universe, buffer, cache, init, seed, agent, window, mode, (link, scenario) in product(
        traces, grid.universes, grid.buffers, grid.caches, grid.inits, grid.seeds, grid.agents, grid.windows,
        grid.modes, product(grid.links, grid.scenarios),
    ):  # fmt: skip
        combinations += 1
        options: dict[str, Any] = {
            "cache": cache, "buffer": buffer, "init": init, "universe": universe, "window": window, "mode": mode,
            "seed": seed,
        }  # fmt: skip
        plan, reason = agents[agent], ""
        if not plan.buffered:
            reason = "policies without a buffer"
        elif not managed[cache]:
            plan, reason = never, "caches that ask no policy"
        given = _config(
            trace=path.name, trace_sha256=sha256, agent=plan.name, link_bytes_per_s=rates[link],
            scenario=wrong[scenario], cost_sha256=cost_sha256, **options,
        )  # fmt: skip
        config = given.reset(meaningless(plan, given)) if plan.buffered else given.without_buffer(plan.name)
        if expanded.configs.setdefault(config.id, config) is not config:
            reason = reason or ("values given twice" if config == given else "caches that choose their first rows")
            expanded.collapsed[reason] = expanded.collapsed.get(reason, 0) + 1
    return Plan(expanded.configs, combinations, expanded.collapsed, expanded.files)


def _config(**options: Any) -> RunConfig:
    try:
        return RunConfig(**options)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--{first['loc'][0]}s {first['input']}: {first['msg']}") from None
