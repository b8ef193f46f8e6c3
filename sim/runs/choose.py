"""Which policy, cache and buffer the options of a command name; the same options for simulated and live runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.registry import ModelOptions, PolicyPlan, resolve
from sim.caches.registry import cache_class
from sim.config import read_policy
from traces.errors import InputError


def choose(
    *,
    policy: Path | None,
    agent: str | None,
    cache: str | None,
    buffer: str | None,
    init: str | None,
    universe: str | None,
    window: int,
    mode: str,
    seed: int,
    model: ModelOptions,
    depth: int | None = None,
) -> tuple[PolicyPlan, dict[str, Any]]:
    """The plan, and those fields of a `RunConfig` that were chosen; None stands for an option that was not given.

    `depth` goes before that of the file `policy`. Raises `InputError` for options that exclude each other, and for a
    file that holds no configuration.
    """
    chosen = {"cache": cache, "buffer": buffer, "init": init, "universe": universe}
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if policy is not None:
        if agent or given:
            raise InputError(
                f"--policy {policy} names policy, cache and buffer; leave out --{next(iter(given), 'agent')}"
            )
        config = read_policy(policy)
        agent, window, mode, seed = config.agent, config.window, config.mode, config.seed
        depth = config.depth if depth is None else depth
        given = {name: getattr(config, name) for name in chosen} if resolve(agent).buffered else {}
    managed = cache_class(given.get("cache", "score")).managed
    plan = resolve(agent or ("every:16" if managed else "never"), model)
    if not plan.buffered and given:
        raise InputError(
            f"--agent {plan.name} has no buffer, so --{next(iter(given))} would mean nothing; leave it out"
        )
    if plan.buffered and not managed and plan.name != "never":
        raise InputError(f"--cache {cache} replaces on its own and asks no policy; leave out --agent, or use never")
    return plan, given | {"window": window, "mode": mode, "seed": seed, "depth": depth}
