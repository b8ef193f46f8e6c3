"""From the options of a command, or of Python, to a policy, cache and buffer, for simulated and live runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from agents.policy import Policy
from agents.registry import ModelOptions, PolicyPlan, entry_of, resolve
from agents.user_code import spec_of
from sim.caches.registry import cache_class
from sim.config import RunConfig, make_config, read_policy
from sim.counts.policy_runs import plan_of_config
from traces.errors import InputError

GIVEN = ("cache", "buffer", "init", "universe")
"""Options of a buffer: to give one of them without a buffer is an error."""

DECIDING = ("window", "mode", "seed")
"""Options of how a policy decides."""


def choose(
    *,
    policy: Path | None,
    agent: str | None,
    cache: str | None,
    buffer: str | None,
    init: str | None,
    universe: str | None,
    window: int | None,
    mode: str | None,
    seed: int | None,
    model: ModelOptions,
    depth: int | None = None,
    trust: bool = False,
) -> tuple[PolicyPlan, dict[str, Any]]:
    """The plan, and those fields of a `RunConfig` that were chosen; None stands for an option that was not given.

    `seed` and `depth` go before those of the file `policy`. Raises `InputError` for options that exclude each other or
    would mean nothing, for a file that holds no configuration, and without `trust` for one that names code of a user's
    own.
    """
    named: dict[str, Any] = {"agent": agent, "cache": cache, "buffer": buffer, "init": init, "universe": universe}
    named |= {"window": window, "mode": mode}
    given = {name: value for name, value in named.items() if value is not None}
    again = {name: value for name, value in {"seed": seed, "depth": depth}.items() if value is not None}
    if policy is not None:
        if given:
            raise InputError(f"--policy {policy} names policy, cache and buffer; leave out --{next(iter(given))}")
        config = read_policy(policy, trust)
        plan = plan_of_config(config, model)
        given = changed_options(config) | {"cache_sha256": config.cache_sha256, "depth": config.depth}
        if plan.buffered:
            given["seed"] = config.seed
    else:
        plan = plan_of(given.pop("agent", None), given, model)
    given |= again
    same = {"trace": "", "trace_sha256": "", "agent": plan.name, "agent_sha256": plan.sha256}
    refuse_meaningless(plan, make_config(**same, **given), set(given))
    return plan, given


def plan_of(
    policy: str | type[Policy] | Policy | PolicyPlan | None, given: Mapping[str, Any], model: ModelOptions | None = None
) -> PolicyPlan:
    """The plan of a policy (`agents.registry.resolve`); the default is `every:16`, or `never` for a cache that asks no
    policy.

    `given` are the fields of a `RunConfig` that were chosen.
    """
    if policy is None:
        managed = cache_class(given.get("cache", "score"), given.get("cache_sha256", "")).managed
        policy = "every:16" if managed else "never"
    return policy if isinstance(policy, PolicyPlan) else resolve(policy, model)


def with_cache_named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a `RunConfig` in which a cache that is given as a class has its name."""
    cache = fields.get("cache")
    return {**fields, "cache": spec_of(cache)} if isinstance(cache, type) else dict(fields)


def changed_options(config: RunConfig) -> dict[str, Any]:
    """The options of a buffer and its policy that differ from their defaults."""
    names = (*GIVEN, "window", "mode")
    return {
        name: getattr(config, name) for name in names if getattr(config, name) != RunConfig.model_fields[name].default
    }


def refuse_checksums_of_none(config: RunConfig) -> None:
    """Raise `InputError` for a checksum of source where the policy or the cache is ours."""
    for name in ("agent", "cache"):
        spec = getattr(config, name)
        has_source = spec in config.user_code or (name == "agent" and entry_of(spec).reads_file)
        if getattr(config, f"{name}_sha256") and not has_source:
            raise InputError(f"{name}_sha256: {spec} is no code of a user's own, and reads no file; leave it out")


def meaningless(plan: PolicyPlan, config: RunConfig) -> dict[str, str]:
    """The fields of a configuration that could change nothing under its policy and cache, each with the reason."""
    if not plan.buffered:
        return dict.fromkeys((*GIVEN, *DECIDING), f"the policy {plan.name} has no buffer")
    kind, reasons = cache_class(config.cache, config.cache_sha256), {}
    if not kind.takes_init:
        reasons["init"] = f"the cache {config.cache} chooses by itself what it holds at first"
    if not kind.managed:
        reasons |= dict.fromkeys(("window", "mode"), f"the cache {config.cache} asks no policy")
    return reasons


def refuse_meaningless(plan: PolicyPlan, config: RunConfig, given: Collection[str]) -> None:
    """Raise `InputError` where some of the fields that were `given` could only be ignored, and for a policy that no
    cache asks. `window`, `mode` and `seed` count as given only if they differ from their defaults."""
    reasons = meaningless(plan, config)
    for name in (one for one in (*GIVEN, *DECIDING) if one in reasons and one in given):
        if name in GIVEN or getattr(config, name) != RunConfig.model_fields[name].default:
            raise InputError(f"{reasons[name]}, so {name} would mean nothing; leave it out")
    if plan.buffered and plan.name != "never" and not cache_class(config.cache, config.cache_sha256).managed:
        raise InputError(
            f"the cache {config.cache} replaces on its own and asks no policy; leave out {plan.name}, or use never"
        )


def refuse_model_options(plan: PolicyPlan, model: ModelOptions, live: bool = False) -> None:
    """Raise `InputError` for options of a language model where the policy asks none. A `live` run keeps no answers,
    whatever its policy."""
    if plan.calls_model:
        return
    usual = ModelOptions(keep_answers=not live)
    options = {"host": "--model-host", "timeout_s": "--timeout-s", "keep_answers": "--ask-again"}
    for name, option in options.items():
        if getattr(model, name) != getattr(usual, name):
            raise InputError(f"{plan.name} asks no language model, so {option} would mean nothing; leave it out")
