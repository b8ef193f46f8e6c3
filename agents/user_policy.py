"""Policies of a user's own: a class that a spec string names, or an object that was made in Python."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, replace
from typing import Any

from agents.policy import Policy
from agents.registry import PolicyPlan, resolve
from agents.user_code import OBJECT, UserSpec, check_source, object_sha256
from traces.errors import InputError
from traces.user_code import UserCode


@dataclass(frozen=True)
class Loaded:
    """Makes policies of a user's class. It can be pickled: another process makes them if it finds the same source."""

    code: UserCode
    sha256: str
    arguments: dict[str, Any]

    def __call__(self) -> Policy:
        check_source(str(self.code), self.code.sha256, self.sha256)
        try:
            policy: Policy = self.code.load()(**self.arguments)
        except InputError:
            raise
        except Exception as error:
            raise self.code.failed("can't be made", error) from error
        if not isinstance(policy, Policy):
            raise InputError(f"{self.code}: is no policy: it must have name, reset and decide (agents.policy)")
        return policy


def plan_of_spec(found: UserSpec, recorded: str = "") -> PolicyPlan:
    """The plan of a user's class. `recorded` is the checksum of its source that a configuration was made with.

    A class that says `timed = False` decides by counts alone. Raises `InputError` for what is no policy, for wrong
    options, and for another source.
    """
    sha256 = found.code.sha256
    check_source(found.spec.name, sha256, recorded)
    target = found.code.load()
    if not inspect.isclass(target):
        raise InputError(f"{found.code}: is no class, but {target!r}")
    name, arguments = found.arguments(target)
    factory = Loaded(found.code, sha256, arguments)
    factory()  # made once, so that errors show up now and not in the first trainer
    return PolicyPlan(
        name=name,
        pipelined=True,
        buffered=True,
        calls_model=False,
        timed=bool(getattr(target, "timed", True)),
        model=None,
        sha256=sha256,
        factory=factory,
    )


def plan_of_object(policy: Policy) -> PolicyPlan:
    """The plan of an object, which is copied for every trainer. One of our own classes keeps its name, another one is
    `object:NAME`. Raises `InputError` for what is no policy."""
    if not isinstance(policy, Policy):
        raise InputError(f"{policy!r} is no policy: it must have name, reset and decide (agents.policy)")
    try:
        ours = resolve(policy.name)
    except InputError:
        ours = None
    if ours is not None and type(ours.make()) is type(policy):
        return replace(ours, factory=lambda: copy.deepcopy(policy))
    return PolicyPlan(
        name=f"{OBJECT}:{policy.name}",
        pipelined=True,
        buffered=True,
        calls_model=False,
        timed=bool(getattr(policy, "timed", True)),
        model=None,
        sha256=object_sha256(policy),
        factory=lambda: copy.deepcopy(policy),
    )
