"""The commands that reproduce results."""

from __future__ import annotations

import shlex
from pathlib import Path

from agents.registry import entry_of
from sim.config import RunConfig

SHIPPED = "traces"
"""The folder of traces in commands, since a configuration has only the file's name."""


CHANGED = {
    "link_latency_s": "--latency-s",
    "depth": "--depth",
    "compute_speed": "--compute-speed",
    "trainers_per_host": "--trainers-per-host",
    "feature_bytes": "--feature-bytes",
    "engine": "--engine",
}
FILES = {
    "cluster": "cluster.toml",
    "scenario": "scenario.toml",
    "owners_sha256": "owners.npy",
    "cost_sha256": "cost.json",
}


def run_command(config: RunConfig) -> str:
    """`python -m sim.run` with every option that differs from its default.

    Files that it was given stand there under the names of docs/configuration.md; what they hold is in config.json.
    """
    words = ["python", "-m", "sim.run", "--trace", f"{SHIPPED}/{config.trace}", "--agent", config.agent]
    if entry_of(config.agent).buffered:
        words += ["--cache", config.cache, "--buffer", config.buffer, "--universe", config.universe]
        for name in ("init", "window", "mode"):  # which may mean nothing to the cache
            if (value := getattr(config, name)) != RunConfig.model_fields[name].default:
                words += [f"--{name}", str(value)]
    if config.link_bytes_per_s is not None:
        words += ["--link", f"{config.link_bytes_per_s * 8:.0f}bit"]
    for name, option in CHANGED.items():
        if (value := getattr(config, name)) != RunConfig.model_fields[name].default:
            words += [option, str(value)]
    for name, file in FILES.items():
        if getattr(config, name):
            words += [f"--{name.removesuffix('_sha256')}", file]
    return shlex.join([*words, "--seed", str(config.seed)])


def compare_command(folder: Path) -> str:
    """`python -m replay.compare` for a live run."""
    return shlex.join(["python", "-m", "replay.compare", str(folder)])


def page_command(folder: Path, out: Path) -> str:
    """`python -m sim.report` for this page."""
    return shlex.join(["python", "-m", "sim.report", str(folder), "--html", str(out)])
