"""Which policy, cache and buffer are meant, by options of a command or of Python; simulated and live alike."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.policy import Policy
from agents.registry import ModelOptions, PolicyPlan, resolve
from sim.caches.registry import cache_class
from sim.config import RunConfig, read_policy
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
    given |= {"window": window, "mode": mode, "seed": seed, "depth": depth}
    return plan_of(agent, given, model), given


def plan_of(
    policy: str | Policy | PolicyPlan | None, given: Mapping[str, Any], model: ModelOptions | None = None
) -> PolicyPlan:
    """The plan of a policy, by its spec string or as an object; without one, what suits the cache.

    An object is copied for every trainer; it sees the times of its windows. `given` are the fields of a `RunConfig`
    that were chosen. Raises `InputError` where some of them would mean nothing under that policy.
    """
    managed = cache_class(given.get("cache", "score")).managed
    if policy is None:
        policy = "every:16" if managed else "never"
    if isinstance(policy, str):
        policy = resolve(policy, model)
    elif not isinstance(policy, PolicyPlan):
        policy = _plan_of_object(policy)
    refuse_meaningless(policy, given)
    return policy


def meant(config: RunConfig) -> dict[str, Any]:
    """The fields that say something of a buffer and are not as they would be without a word."""
    names = (*GIVEN, "window", "mode")
    return {
        name: getattr(config, name) for name in names if getattr(config, name) != RunConfig.model_fields[name].default
    }


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


def _plan_of_object(policy: Policy) -> PolicyPlan:
    if isinstance(policy, type) or not isinstance(policy, Policy):
        raise InputError(f"{policy!r} is no policy: it must be an object with name, reset and decide (agents.policy)")
    return PolicyPlan(
        name=policy.name,
        pipelined=True,
        buffered=True,
        calls_model=False,
        timed=True,
        model=None,
        factory=lambda: copy.deepcopy(policy),
    )
