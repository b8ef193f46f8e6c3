"""Spec strings: one grammar for policies and caches.

name                        every policy or cache by its name        never, sieve
name:value,key=value        with options, by position or by name     every:16, score:alpha=.05,period=32
name:rest                   where an entry takes the rest as it is   ollama:llama3.2:3b
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from traces.errors import InputError


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec string taken apart: `every:16` is name "every", rest "16"."""

    text: str
    name: str
    rest: str


@dataclass(frozen=True, slots=True)
class Renames:
    """Former names of entries, each with today's name. Former names stay valid, because result files contain them."""

    today: Mapping[str, str]

    def now(self, text: str) -> str:
        """A spec string under today's name."""
        return _renamed(text, self.today)

    def at_first(self, text: str) -> str:
        """A spec string under the entry's first name, from which ids of runs are made."""
        return _renamed(text, {new: old for old, new in self.today.items()})

    def with_former(self, name: str, text: str) -> str:
        """`text` about the entry `name`, and what that was called before."""
        former = [old for old, new in self.today.items() if new == name]
        return f"{text} (formerly {', '.join(former)})" if former else text


def _renamed(text: str, names: Mapping[str, str]) -> str:
    name, colon, rest = text.partition(":")
    return names.get(name.strip(), name) + colon + rest


def parse_spec(text: str) -> Spec:
    """Split a spec string at its first colon. Raises `InputError` where there is no name."""
    name, _, rest = text.strip().partition(":")
    if not name:
        raise InputError(f"the spec {text!r} has no name in front; write for example every:16")
    return Spec(text.strip(), name, rest)


def options(spec: Spec, target: Callable[..., Any], but: Container[str] = ()) -> dict[str, Any]:
    """Arguments for `target`, a class or function with int, float, str or bool parameters, out of `spec.rest`.

    A parameter without an annotation has the type of its default. Parameters that are keyword-only, or named in `but`,
    are not options: they are the caller's. Raises `InputError` naming the option that is unknown, missing, given twice,
    not of its parameter's type, or of a type that can't be written.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(target).parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and name not in but
    }
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    names, given = list(parameters), {}
    for position, item in enumerate(part.strip() for part in spec.rest.split(",") if part.strip()):
        key, equals, value = item.partition("=")
        if not equals:
            if position >= len(names):
                raise InputError(f"{spec.text!r}: {item!r} is one option too many; {_usage(spec.name, parameters)}")
            key, value = names[position], item
        if key not in parameters:
            raise InputError(f"{spec.text!r}: there is no option {key!r}; {_usage(spec.name, parameters)}")
        if key in given:
            raise InputError(f"{spec.text!r}: the option {key!r} is given twice")
        given[key] = _convert(spec, key, value.strip(), hints.get(key) or _kind_of(parameters[key]))
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given]
    if missing:
        raise InputError(f"{spec.text!r}: the option {missing[0]!r} is missing; {_usage(spec.name, parameters)}")
    return given


def _kind_of(parameter: inspect.Parameter) -> type:
    """The type of a parameter without an annotation."""
    return str if parameter.default in (parameter.empty, None) else type(parameter.default)


def _convert(spec: Spec, key: str, value: str, kind: type[Any]) -> Any:
    if kind not in (int, float, str, bool):
        raise InputError(f"{spec.text!r}: {key} is of type {kind}; what is written must be int, float, str or bool")
    try:
        if kind is bool:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        converted = kind(value)
    except (ValueError, KeyError):
        raise InputError(f"{spec.text!r}: {key}={value!r} is not of type {kind.__name__}") from None
    if kind is float and not math.isfinite(converted):
        raise InputError(f"{spec.text!r}: {key}={value!r} must be a finite number")
    return converted


def _usage(name: str, parameters: dict[str, inspect.Parameter]) -> str:
    if not parameters:
        return f"{name} takes no options"
    written = [n if p.default is p.empty else f"{n}={p.default}" for n, p in parameters.items()]
    return f"write {name}:{','.join(written)}"
