"""Which policy, cache and buffer are meant, by options of a command or of Python; simulated and live alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.policy import Policy
from agents.registry import ModelOptions, PolicyPlan, resolve
from agents.user_code import spec_of
from sim.caches.registry import cache_class
from sim.config import RunConfig, read_policy
from sim.counts.policy_runs import plan_of_config
from traces.errors import InputError

GIVEN = ("cache", "buffer", "init", "universe")
"""Options of a buffer that have no meaning of their own when they are left out."""


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
    trust: bool = False,
) -> tuple[PolicyPlan, dict[str, Any]]:
    """The plan, and those fields of a `RunConfig` that were chosen; None stands for an option that was not given.

    `depth` goes before that of the file `policy`. Raises `InputError` for options that exclude each other, for a file
    that holds no configuration, and without `trust` for one that names code of a user's own.
    """
    chosen = {"cache": cache, "buffer": buffer, "init": init, "universe": universe}
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if policy is not None:
        if agent or given:
            raise InputError(
                f"--policy {policy} names policy, cache and buffer; leave out --{next(iter(given), 'agent')}"
            )
        config = read_policy(policy, trust)
        plan = plan_of_config(config, model)
        given = {name: getattr(config, name) for name in (*chosen, "cache_sha256")} if plan.buffered else {}
        given |= {"window": config.window, "mode": config.mode, "seed": config.seed}
        given["depth"] = config.depth if depth is None else depth
    else:
        plan = None
        given |= {"window": window, "mode": mode, "seed": seed, "depth": depth}
    return plan_of(plan or agent, given, model), given


def plan_of(
    policy: str | type[Policy] | Policy | PolicyPlan | None, given: Mapping[str, Any], model: ModelOptions | None = None
) -> PolicyPlan:
    """The plan of a policy (`agents.registry.resolve`); without one, of what suits the cache.

    `given` are the fields of a `RunConfig` that were chosen. Raises `InputError` where some of them would mean nothing
    under that policy.
    """
    managed = cache_class(given.get("cache", "score"), given.get("cache_sha256", "")).managed
    if policy is None:
        policy = "every:16" if managed else "never"
    plan = policy if isinstance(policy, PolicyPlan) else resolve(policy, model)
    refuse_meaningless(plan, given)
    return plan


def with_cache_named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `RunConfig` in which a cache that is given as a class has its name."""
    cache = fields.get("cache")
    return {**fields, "cache": spec_of(cache)} if isinstance(cache, type) else dict(fields)


def meant(config: RunConfig) -> dict[str, Any]:
    """The fields that say something of a buffer and are not as they would be without a word."""
    names = (*GIVEN, "window", "mode")
    return {
        name: getattr(config, name) for name in names if getattr(config, name) != RunConfig.model_fields[name].default
    }


def refuse_checksums_of_none(config: RunConfig) -> None:
    """Raise `InputError` for a checksum of source where the policy or the cache is none of a user's own."""
    for name in ("agent", "cache"):
        if getattr(config, f"{name}_sha256") and getattr(config, name) not in config.user_code:
            raise InputError(f"{name}_sha256: {getattr(config, name)} is no code of a user's own; leave it out")


def refuse_meaningless(plan: PolicyPlan, given: Mapping[str, Any]) -> None:
    """Raise `InputError` for fields that a run under `plan` could only ignore."""
    defaults = {name: RunConfig.model_fields[name].default for name in ("window", "mode")}
    changed = [name for name, default in defaults.items() if given.get(name, default) != default]
    if not plan.buffered:
        for name in [*(name for name in GIVEN if name in given), *changed]:
            raise InputError(f"the policy {plan.name} has no buffer, so {name} would mean nothing; leave it out")
        return
    cache = given.get("cache", "score")
    if cache_class(cache).managed:
        return
    if plan.name != "never":
        raise InputError(
            f"the cache {cache} replaces on its own and asks no policy; leave out {plan.name}, or use never"
        )
    for name in changed:
        raise InputError(f"the cache {cache} asks no policy, so {name} would mean nothing; leave it out")
