"""Policies by name. A new one is a file of its own, and an entry in `POLICIES`.

A policy's module is imported when the policy is made, so that listing them is fast and needs no extras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path

from agents.policy import Policy
from agents.spec import Renames, options, parse_spec
from agents.user_code import Names, check_source, spec_of
from traces.checksum import sha256_of
from traces.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """How to reach a language model. Policies that call none ignore it.

    `host` is the address of its server, or several with commas between, one a trainer (`agents.llm.address`); by
    default what the provider's environment variable says (`OLLAMA_HOST`, `OPENAI_BASE_URL`). It may hold a password and
    is never shown. An answer that takes longer than `timeout_s` seconds counts as late. With `keep_answers`, equal
    questions are asked once and answered from disk from then on (`agents.llm.answers`).
    """

    host: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    keep_answers: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.timeout_s < float("inf"):
            raise InputError(f"the time-out of {self.timeout_s} s for a model's answer must be finite and above 0")


UNASKED = ModelOptions(host="http://127.0.0.1")
"""For the plans of past runs: some models need a host to be made at all, but are not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyPlan:
    """A policy, and what it needs from the run.

    `name` is the canonical spec string. Without `pipelined`, a minibatch is prepared only when the one before it is
    done; without `buffered`, trainers keep no remote rows. `calls_model` says that decisions take a language model's
    time, `model` how to reach it (None for a policy that calls none). Without `timed`, a policy answers at once and
    looks at counts only, so that its decisions don't depend on time. `sha256` is the checksum of a user's own source or
    of the file that the policy reads, "" for other policies of ours, and for an object that has none. Plans with equal
    policies are equal.
    """

    name: str
    pipelined: bool
    buffered: bool
    calls_model: bool
    timed: bool
    model: ModelOptions | None
    sha256: str = ""
    factory: Callable[[], Policy] = field(compare=False, repr=False)

    def make(self) -> Policy:
        """A fresh policy object; every trainer needs its own."""
        return self.factory()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the listing. `target` is "module:attribute", called with the options of the spec string.

    Where `calls_model`, it is called with all of the spec's rest as the model's `name`, and `ModelOptions` as `model`.
    What it decides depends on the content of a file if it `reads_file`, the first option of its spec.
    """

    target: str
    usage: str
    summary: str
    source: str
    pipelined: bool = True
    buffered: bool = True
    calls_model: bool = False
    timed: bool = False
    reads_file: bool = False


MASSIVEGNN = "MassiveGNN, IEEE CLUSTER 2024"
RUDDER = "Rudder, arXiv 2602.23556"

POLICIES = {
    "none": Entry(
        target="agents.heuristics.fixed:NoPipeline",
        usage="none",
        summary="no pipelining, no buffer",
        source="DistDGL, arXiv 2010.05337",
        pipelined=False,
        buffered=False,
    ),
    "pipeline": Entry(
        target="agents.heuristics.fixed:NoBuffer",
        usage="pipeline",
        summary="one minibatch ahead, no buffer",
        source="ablation: what pipelining alone brings",
        buffered=False,
    ),
    "never": Entry(
        target="agents.heuristics.fixed:Never",
        usage="never",
        summary="the buffer stays as it was filled at the start",
        source="static prefetching",
    ),
    "every": Entry(
        target="agents.heuristics.fixed:Every",
        usage="every:N",
        summary="replace after every N minibatches (a multiple of the window)",
        source="periodic replacement",
    ),
    "always": Entry(
        target="agents.heuristics.fixed:Always",
        usage="always",
        summary="replace after every window",
        source="upper end of the replacement rate",
    ),
    "massivegnn": Entry(
        target="agents.heuristics.published:MassiveGNN",
        usage="massivegnn:N",
        summary="replace in minibatches N-1, 2N-1, ... as the published code does; N is the score buffer's period",
        source=MASSIVEGNN,
    ),
    "rudder-every": Entry(
        target="agents.heuristics.published:RudderEvery",
        usage="rudder-every:N",
        summary="replace in minibatches N, 2N+1, ... as the published code under a model that always says yes",
        source=RUDDER,
    ),
    "partial": Entry(
        target="agents.heuristics.fixed:Partial",
        usage="partial:SHARE",
        summary="replace a part of the stale rows after every window",
        source="gradual replacement",
    ),
    "random": Entry(
        target="agents.heuristics.random_gate:RandomGate",
        usage="random:P",
        summary="replace with probability P",
        source="control at an equal replacement rate",
    ),
    "threshold": Entry(
        target="agents.heuristics.threshold:Threshold",
        usage="threshold:H",
        summary="replace when the window's hit rate over cacheable rows is below H",
        source="reactive rule",
    ),
    "hysteresis": Entry(
        target="agents.heuristics.hysteresis:Hysteresis",
        usage="hysteresis:LOW,HIGH",
        summary="replace until the hit rate reaches HIGH, then rest until it falls below LOW",
        source="reactive rule with two thresholds",
    ),
    "hill-climb": Entry(
        target="agents.heuristics.hill_climb:HillClimb",
        usage="hill-climb:START,TRIAL",
        summary="double or halve the interval as long as fewer rows are fetched",
        source="hill climbing",
    ),
    "bandit": Entry(
        target="agents.heuristics.bandit:Bandit",
        usage="bandit:TRIAL",
        summary="learn the interval and the ranking by Thompson sampling",
        source="Thompson, Biometrika 25, 1933",
    ),
    "cost-benefit": Entry(
        target="agents.heuristics.cost_benefit:CostBenefit",
        usage="cost-benefit:HORIZON",
        summary="replace when the fetches expected to be saved take longer than those it needs",
        source="cost-benefit rule over the cost model",
        timed=True,
    ),
    "oracle": Entry(
        target="agents.oracle:Oracle",
        usage="oracle:HORIZON",
        summary="bound: take the branch that fetches fewer rows over HORIZON minibatches",
        source="both branches simulated (sim.judge)",
        timed=True,
    ),
    "recorded": Entry(
        target="agents.recorded:Recorded",
        usage="recorded:FILE",
        summary="repeat the decisions of an earlier run's decisions.parquet",
        source="record and replay",
        timed=True,
        reads_file=True,
    ),
    "classifier": Entry(
        target="agents.classifiers.policy:Classifier",
        usage="classifier:FILE",
        summary="ask a trained classifier (python -m agents.train)",
        source=RUDDER,
        timed=True,
        reads_file=True,
    ),
    "local": Entry(
        target="agents.llm.local:local_policy",
        usage="local:FILE.gguf",
        summary="ask a language model inside this process (local: alone takes SmolLM2-135M: a pipeline, not a judge)",
        source=RUDDER,
        calls_model=True,
    ),
    "openai": Entry(
        target="agents.llm.openai_compatible:openai_policy",
        usage="openai:MODEL",
        summary="ask a language model behind OpenAI's chat API (vLLM, llama.cpp)",
        source=RUDDER,
        calls_model=True,
    ),
    "scripted": Entry(
        target="agents.llm.scripted:scripted_policy",
        usage="scripted:FILE",
        summary="a language model that answers with a file's lines: for tests",
        source="for tests",
        calls_model=True,
        reads_file=True,
    ),
    "ollama": Entry(
        target="agents.llm.ollama:ollama_policy",
        usage="ollama:MODEL",
        summary="ask a language model that an Ollama server runs",
        source=RUDDER,
        calls_model=True,
    ),
}


RENAMES = Renames({"trickle": "partial", "climb": "hill-climb", "benefit": "cost-benefit"})


NAMES = Names("policy", {name: entry.usage for name, entry in POLICIES.items()}, RENAMES, "rudder_twin.policies")

OF_A_USER = Entry(target="", usage="FILE.py:CLASS", summary="a policy of your own", source="", timed=True)
"""The entry of a user's policy; nothing more is known before its code is loaded."""


def entry_of(text: str) -> Entry:
    """The entry of the policy that a spec string names; nothing is loaded. Raises `InputError` for a name that isn't
    there."""
    return OF_A_USER if NAMES.user_spec(text) else POLICIES.get(parse_spec(RENAMES.now(text)).name, OF_A_USER)


def file_sha256(text: str) -> str:
    """The checksum of the file that one of our policies reads (`recorded:FILE`); "" for all others, and without one."""
    name, _, rest = RENAMES.now(text).strip().partition(":")
    if not (name in POLICIES and POLICIES[name].reads_file):
        return ""
    path = Path(rest.partition(",")[0].rpartition("=")[2].strip())
    try:
        return _file_sha256(path, path.stat().st_mtime_ns) if path.is_file() else ""
    except (OSError, ValueError):
        return ""


@cache
def _file_sha256(path: Path, changed_ns: int) -> str:
    return sha256_of(path)


def plan_of_past(text: str) -> PolicyPlan:
    """The plan of a captured run's policy. It asks no model and doesn't load users' code, so it can't make such a
    policy."""
    if NAMES.user_code(text) is None:
        return resolve(text, UNASKED)

    def refuse() -> Policy:
        raise InputError(f"{text}: is a policy of a captured run, and a trace is no reason to run code")

    return PolicyPlan(
        name=text, pipelined=True, buffered=True, calls_model=False, timed=True, model=None, factory=refuse
    )


def resolve(policy: str | type[Policy] | Policy, model: ModelOptions | None = None, sha256: str = "") -> PolicyPlan:
    """The plan that a spec string names (`every:16`, `ollama:llama3.2:3b`, `mine.py:Mine:3`), a class, or an object.

    `model` says how policies that call a language model reach it; `sha256` is the checksum of a user's source that a
    configuration was made with. This runs users' code. Raises `InputError` for a name that isn't there, for options
    that are unknown, missing or out of range, and for another source.
    """
    if isinstance(policy, type):
        policy = spec_of(policy)
    if not isinstance(policy, str):
        from agents.user_policy import plan_of_object

        return plan_of_object(policy)
    if (found := NAMES.user_spec(policy)) is not None:
        from agents.user_policy import plan_of_spec

        return plan_of_spec(found, sha256)
    spec = parse_spec(RENAMES.now(policy))
    if spec.name not in POLICIES:
        raise InputError(f"{policy}: was made in Python, and can't be made from its name; put its class into a file")
    entry = POLICIES[spec.name]
    module, _, attribute = entry.target.partition(":")
    target = getattr(import_module(module), attribute)
    model = (model or ModelOptions()) if entry.calls_model else None
    arguments = {"name": spec.rest, "model": model} if entry.calls_model else options(spec, target)
    factory = partial(target, **arguments)
    plan = PolicyPlan(
        name=factory().name,  # made once, so that wrong options show up now and not in the first trainer
        pipelined=entry.pipelined,
        buffered=entry.buffered,
        calls_model=entry.calls_model,
        timed=entry.timed or entry.calls_model,
        model=model,
        sha256=file_sha256(policy),
        factory=factory,
    )
    check_source(spec.text, plan.sha256, sha256)
    return plan
