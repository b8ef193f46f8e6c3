"""The commands that make results again."""

from __future__ import annotations

import shlex
from pathlib import Path

from agents.registry import POLICIES
from agents.spec import parse_spec
from sim.config import RunConfig

SHIPPED = "traces"
"""The folder that traces are named in; a configuration holds the file's name alone."""


def run_command(config: RunConfig) -> str:
    """`python -m sim.run` with every option that differs from its default."""
    words = ["python", "-m", "sim.run", "--trace", f"{SHIPPED}/{config.trace}", "--agent", config.agent]
    if POLICIES[parse_spec(config.agent).name].buffered:
        words += ["--cache", config.cache, "--buffer", config.buffer, "--init", config.init]
        words += ["--universe", config.universe, "--window", str(config.window), "--mode", config.mode]
    if config.link_bytes_per_s is not None:
        words += ["--link", f"{config.link_bytes_per_s * 8:.0f}bit"]
    return shlex.join([*words, "--seed", str(config.seed)])


def page_command(folder: Path, out: Path) -> str:
    """`python -m sim.report` for this page."""
    return shlex.join(["python", "-m", "sim.report", str(folder), "--html", str(out)])
