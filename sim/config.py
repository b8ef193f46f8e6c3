"""The configuration of a simulated run. The hash of its canonical JSON is the run's id."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from agents import registry as policies
from agents.user_code import require_trust
from sim.caches import registry as caches
from sim.caches.cache import Init
from sim.config_files import from_json
from sim.workload.stream import UniverseKind
from traces.errors import InputError

ADDED = ("engine", "agent_sha256", "cache_sha256", "cost_sha256")
"""Fields that were added after the first results had been written."""

Mode = Literal["async", "sync"]
EngineKind = Literal["compiled", "simpy"]
PolicySpec = Annotated[str, AfterValidator(policies.RENAMES.now)]
CacheSpec = Annotated[str, AfterValidator(caches.RENAMES.now)]

BUFFER_FIELDS = ("cache", "buffer", "init", "universe", "window", "mode", "seed", "cache_sha256")
"""Fields that mean nothing to a policy without a buffer."""

POLICY_FIELDS = ("agent", "agent_sha256")
"""Fields of the policy."""

OPTIONS_OF_TWIN = ("link", "latency_s", "owners")
"""Options of `sim.Twin.config` whose fields have other names."""

TIME_FIELDS = ("mode", "link_bytes_per_s", "link_latency_s", "depth", "compute_speed", "cluster", "scenario", "engine")
"""Fields that change times only, and so not the rows fetched by a policy that looks at no times."""


class RunConfig(BaseModel):
    """Everything that the result of a run depends on, except what is up to a language model's server: its latency, and
    the time-out that it is given.

    `trace` is the file's name, `trace_sha256` its content's checksum. `window` is the number of minibatches between two
    observations. In `async` mode training goes on while a policy thinks; in `sync` mode it waits. `link_bytes_per_s` is
    the rate of every host's link, in both directions, and `link_latency_s` its latency; None keeps that of the captured
    run. `depth` is how many minibatches are prepared ahead (None: as the policy says). `compute_speed`,
    `trainers_per_host` and `feature_bytes` are what-ifs (`sim.runs.whatif`), `owners_sha256` is the checksum of a file
    of owners. `cluster` and `scenario` are the contents of such files, as JSON (`sim.cluster.clusterfile`,
    `sim.cluster.scenario`). Former names of policies and caches are replaced by today's. `engine` is the engine that
    simulates time; `simpy` is the readable `sim.engine.reference`. `agent_sha256` and `cache_sha256` are checksums of a
    user's own source (`agents.user_code`), or of the file that a policy of ours reads (`recorded:FILE`), `cost_sha256`
    that of a cost model other than the one fitted to the trace (`sim.cost.model.cost_sha256`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trace: str
    trace_sha256: str
    agent: PolicySpec
    cache: CacheSpec = "score"
    buffer: str = "25%"
    init: Init = "degree"
    universe: UniverseKind = "halo"
    window: int = Field(default=1, gt=0)
    mode: Mode = "async"
    link_bytes_per_s: float | None = Field(default=None, gt=0)
    link_latency_s: float | None = Field(default=None, ge=0)
    depth: int | None = Field(default=None, ge=0, le=1000)
    compute_speed: float = Field(default=1.0, gt=0)
    trainers_per_host: int | None = Field(default=None, gt=0)
    feature_bytes: int | None = Field(default=None, gt=0)
    owners_sha256: str = ""
    cluster: str = ""
    scenario: str = ""
    seed: int = Field(default=0, ge=0)
    engine: EngineKind = "compiled"
    agent_sha256: str = ""
    cache_sha256: str = ""
    cost_sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _with_checksums(cls, given: Any) -> Any:
        """Add missing checksums of users' code, without running it, and of files that policies read."""
        if isinstance(given, dict):
            for field, names in (("agent", policies.NAMES), ("cache", caches.NAMES)):
                if not given.get(f"{field}_sha256") and (code := names.user_code(given.get(field))) is not None:
                    given = given | {f"{field}_sha256": code.sha256}
            if not given.get("agent_sha256") and isinstance(agent := given.get("agent"), str) and agent:
                given = given | {"agent_sha256": policies.file_sha256(agent)}
        return given

    @property
    def id(self) -> str:
        """A short hash of the whole configuration.

        It uses the first names of policies and caches, and leaves out added fields with default values, so that earlier
        results keep their ids.
        """
        first = {"agent": policies.RENAMES.at_first(self.agent), "cache": caches.RENAMES.at_first(self.cache)}
        silent = {name for name in ADDED if getattr(self, name) == type(self).model_fields[name].default}
        return hashlib.sha256(self.model_copy(update=first).model_dump_json(exclude=silent).encode()).hexdigest()[:16]

    @property
    def user_code(self) -> list[str]:
        """The specs that name users' code."""
        specs = [(policies.NAMES, self.agent), (caches.NAMES, self.cache)]
        return [text for names, text in specs if names.user_code(text) is not None]

    def require_source(self) -> None:
        """Raise `InputError` for users' code without source, as a result couldn't say what it is of."""
        for spec, sha256 in ((self.agent, self.agent_sha256), (self.cache, self.cache_sha256)):
            if spec.startswith(("object:", "__main__:")) and not sha256:
                raise InputError(f"{spec}: has no source that could be told from another; define its class in a file")

    def reset(self, names: Iterable[str]) -> RunConfig:
        """A copy with some fields set to their defaults."""
        return self.model_copy(update={name: type(self).model_fields[name].default for name in names})

    def without_buffer(self, agent: str) -> RunConfig:
        """The same run under `agent`, a policy without a buffer: a baseline."""
        return self.reset(BUFFER_FIELDS).under(agent)

    def under(self, agent: str) -> RunConfig:
        """The same run under `agent`, a policy of ours."""
        return self.model_copy(update={"agent": agent, "agent_sha256": ""})


def make_config(**fields: Any) -> RunConfig:
    """A configuration. Raises `InputError` for an unknown field, and for the first invalid value."""
    try:
        return RunConfig(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            near = get_close_matches(place, [*RunConfig.model_fields, *OPTIONS_OF_TWIN], 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"there is no option {place}{hint}") from None
        raise InputError(f"{place}={first['input']!r}: {first['msg']}") from None


def read_policy(path: Path, trust: bool = False) -> RunConfig:
    """The configuration in a JSON file (`best.json` of `sim.tune`, `config.json` of `sim.run`): policy, cache and
    buffer are meant, whatever trace and links it was found on.

    Raises `InputError` for a file without a configuration, and without `trust` for one that names users' code.
    """
    config = from_json(RunConfig, path, "--policy")
    require_trust(f"--policy {path}", config.user_code, trust)
    return config
