"""The grid of live runs that `replay.validate` makes, out of a TOML file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agents.registry import RENAMES as POLICIES
from agents.registry import entry_of, resolve
from agents.user_code import require_trust
from sim.caches.cache import Init
from sim.caches.registry import RENAMES as CACHES
from sim.config import CacheSpec, PolicySpec, RunConfig, make_config
from sim.config_files import from_toml
from sim.runs.choose import refuse_meaningless
from traces.cluster.link import parse_link
from traces.errors import InputError

BASELINE = "none"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PolicyChoice(_Strict):
    """A policy with its cache and buffer; defaults are those of `sim.run`."""

    agent: PolicySpec
    cache: CacheSpec = "score"
    buffer: str = "25%"
    init: Init = "degree"
    universe: str = "halo"
    window: int = 1

    @property
    def user_code(self) -> list[str]:
        """The specs in it that name code of a user's own."""
        return self.config.user_code

    @property
    def config(self) -> RunConfig:
        """The configuration, with no trace yet."""
        options: dict[str, Any] = self.model_dump()
        return make_config(trace="", trace_sha256="", **options)

    @property
    def label(self) -> str:
        """The policy in a few words, for tables and folders."""
        if not entry_of(self.agent).buffered:
            return self.agent
        start = "" if self.init == "degree" else f", {self.init} at first"
        return " ".join([self.agent, self.cache, self.buffer, self.universe]) + start


class Block(_Strict):
    """Every policy on every number of machines at every link rate, on one graph."""

    graph: Path
    machines: tuple[int, ...] = Field(min_length=1)
    links: tuple[str, ...] = Field(min_length=1)
    policies: tuple[PolicyChoice, ...] = Field(min_length=1)
    batch: int = 500
    fanout: tuple[int, ...] = (10, 25)
    hidden: int = 64
    model: str = "GraphSAGE"
    epochs: int = Field(default=3, ge=2)
    repeats: int = Field(default=1, ge=1)


class Grid(_Strict):
    """All blocks, and a note that pages about their runs begin with."""

    note: str = ""
    blocks: tuple[Block, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One live run of the grid. Runs of the same `setting` differ in policy and repeat only."""

    block: Block
    machines: int
    link: str
    policy: PolicyChoice
    repeat: int

    @property
    def setting(self) -> tuple[str, int, str, int]:
        return (self.block.graph.name, self.machines, self.link, self.block.batch)

    @property
    def folder(self) -> str:
        graph, machines, link, batch = self.setting
        first = {"agent": POLICIES.at_first(self.policy.agent), "cache": CACHES.at_first(self.policy.cache)}
        if self.policy.init == "empty":
            first["init"] = "degree"  # folders never told these two apart
        label = self.policy.model_copy(update=first).label
        text = f"{graph} {machines} {link} b{batch} {label} r{self.repeat}"
        return re.sub(r"[^A-Za-z0-9.]+", "-", text)

    @property
    def config(self) -> RunConfig:
        """The configuration with no trace yet; the seed is the repeat's number."""
        return self.policy.config.model_copy(update={"seed": self.repeat})


def read_grid(path: Path, trust: bool = False) -> Grid:
    """Read a grid. Raises `InputError` naming the block and field that is wrong, for options that would mean nothing,
    and without `trust` for a file that names users' code."""
    grid = from_toml(Grid, path, "--grid")
    code = {code: None for block in grid.blocks for policy in block.policies for code in policy.user_code}
    require_trust(f"--grid {path}", code, trust)
    for block in grid.blocks:
        for link in block.links:
            parse_link(link)
        for policy in block.policies:
            refuse_meaningless(resolve(policy.agent), policy.config, policy.model_fields_set)
        if BASELINE not in [policy.agent for policy in block.policies]:
            raise InputError(f"--grid {path}: a block on {block.graph} has no policy none to fit cost models on")
    return grid


def runs_of(grid: Grid) -> list[Planned]:
    """All runs, repeat by repeat, so that an interrupted grid has every configuration once before it has any twice. In
    every second repeat the policies of a setting are in reverse order, so that a machine that slows down favours none
    of them."""
    planned = [
        Planned(block=block, machines=machines, link=link, policy=policy, repeat=repeat)
        for block in grid.blocks
        for repeat in range(block.repeats)
        for machines, link, policy in product(block.machines, block.links, block.policies[:: -1 if repeat % 2 else 1])
    ]
    if len({one.folder for one in planned}) < len(planned):
        raise InputError("the grid names a run twice")
    return sorted(planned, key=lambda one: one.repeat)
