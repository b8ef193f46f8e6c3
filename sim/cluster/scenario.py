"""`scenario.toml`: periods of a run in which links, hosts, servers or a model are slower or fail.

```toml
[[congestion]]                 # all links, or those of `link`: a host's, or "a-b" between two nodes
start_s = 4.0
end_s = 8.0
factor = 0.25                  # the part of its rate that a link carries; 0 is a failed link

[[straggler]]                  # all that a host computes
host = "machine1"
start_s = 0.0
end_s = 60.0
factor = 0.5

[[slow_server]]                # the feature servers of a host
host = "machine2"
factor = 0.2

[[model_timeout]]              # a language model answers nothing in time
start_s = 10.0
end_s = 20.0
```

By default a period begins at 0 and never ends. `repeat_s` repeats it until the run ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, model_validator

from sim.config_files import from_toml

FOREVER_S = 1e9


class _Period(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    start_s: float = 0.0
    end_s: PositiveFloat = FOREVER_S
    repeat_s: PositiveFloat | None = None

    @model_validator(mode="after")
    def _ordered(self) -> _Period:
        if self.end_s <= self.start_s:
            raise ValueError(f"end_s = {self.end_s:g} is not after start_s = {self.start_s:g}")
        if self.repeat_s is not None and self.repeat_s < self.end_s - self.start_s:
            raise ValueError(f"repeat_s = {self.repeat_s:g} is shorter than the period itself")
        return self

    def holds(self, now: float) -> float:
        """The end of the period that contains `now`; `now` if there is none."""
        since = now - self.start_s
        if self.repeat_s is not None and since >= 0:
            since %= self.repeat_s
        left_s = self.end_s - self.start_s - since
        return now + left_s if since >= 0 and left_s > 0 else now


class Congestion(_Period):
    """Links that carry a part of their rate."""

    link: str = ""
    factor: NonNegativeFloat

    @model_validator(mode="after")
    def _returns(self) -> Congestion:
        if self.factor == 0 and self.end_s >= FOREVER_S:
            raise ValueError("a link that fails for good ends the run: give end_s")
        return self


class SlowHost(_Period):
    """A host, or its servers, that computes at a part of its speed."""

    host: str
    factor: PositiveFloat


class Scenario(BaseModel):
    """All that goes wrong during a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    congestion: tuple[Congestion, ...] = ()
    straggler: tuple[SlowHost, ...] = ()
    slow_server: tuple[SlowHost, ...] = ()
    model_timeout: tuple[_Period, ...] = ()

    @classmethod
    def of(cls, text: str) -> Scenario:
        """The scenario of `RunConfig.scenario`."""
        return cls.model_validate_json(text) if text else cls()

    @property
    def text(self) -> str:
        """As `RunConfig.scenario` has it; empty where nothing goes wrong."""
        return self.model_dump_json(exclude_defaults=True) if self != Scenario() else ""

    def silent_until(self, now: float) -> float:
        """The time until which a model asked at `now` gives no answer; `now` if it answers."""
        return max((one.holds(now) for one in self.model_timeout), default=now)

    def later(self, start_s: float) -> Scenario:
        """The same seen from a run that begins at `start_s`."""

        def moved(one: _Period) -> _Period:
            return one.model_copy(update={"start_s": one.start_s - start_s, "end_s": one.end_s - start_s})

        return self.model_copy(
            update={name: tuple(moved(one) for one in getattr(self, name)) for name in type(self).model_fields}
        )


def read_scenario(file: Path | str | Mapping[str, Any]) -> Scenario:
    """Read a `scenario.toml`, or what one would say. Raises `InputError` for what is none."""
    return from_toml(Scenario, file, "--scenario")
