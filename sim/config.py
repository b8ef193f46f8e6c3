"""What defines a simulated run. The hash of its canonical JSON is the run's id."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, ValidationError

from sim.caches.cache import Init
from sim.stream import UniverseKind
from traces.errors import InputError

Mode = Literal["async", "sync"]


class RunConfig(BaseModel):
    """Everything that the result of a run depends on, but for the latency of a language model.

    `trace` is the file's name, `trace_sha256` its content's checksum. `window` is the number of minibatches between two
    observations. In `async` mode training goes on while a policy thinks; in `sync` mode it waits. `link_bytes_per_s`
    is the rate of every host's link, in both directions; None keeps that of the captured run. During a period of
    `congestion` (start and end in seconds of simulated time, and a factor), all links carry that part of their rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trace: str
    trace_sha256: str
    agent: str
    cache: str = "score"
    buffer: str = "25%"
    init: Init = "degree"
    universe: UniverseKind = "halo"
    window: int = Field(default=1, gt=0)
    mode: Mode = "async"
    link_bytes_per_s: float | None = Field(default=None, gt=0)
    congestion: tuple[tuple[NonNegativeFloat, NonNegativeFloat, PositiveFloat], ...] = ()
    seed: int = Field(default=0, ge=0)

    @property
    def id(self) -> str:
        """A short hash of the whole configuration."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def read_policy(path: Path) -> RunConfig:
    """The configuration in a JSON file (`best.json` of `sim.tune`, `config.json` of `sim.run`): policy, cache and
    buffer are meant, whatever trace and links it was found on. Raises `InputError` for a file that is none."""
    try:
        return RunConfig.model_validate_json(path.read_text())
    except OSError as error:
        raise InputError(f"--policy {path}: can't be read ({error.strerror})") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"--policy {path}: {field + ': ' if field else ''}{first['msg']}") from None
