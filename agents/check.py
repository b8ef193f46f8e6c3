"""Does a policy keep the contract? Run `check_policy` on your own, as Gymnasium's `check_env` on an environment.

From the command line: `python -m agents.check every:16`, `python -m agents.check mine.py:Mine`. `sim.caches.check` does
the same for caches.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Annotated, get_args

import typer

from agents.options import ModelHost, TimeoutS
from agents.policy import Decision, Observation, Outcome, PastDecision, Policy, Ranking, RunFacts, WindowCounts
from agents.registry import ModelOptions, PolicyPlan, resolve
from agents.spec import parse_spec
from traces.errors import InputError, run_command
from traces.terminal import Json, Quiet, print_json

Factory = Callable[[], Policy]

SEED = 7

RUN = RunFacts(
    graph="check",
    synthetic=True,
    nodes=100_000,
    edges=2_000_000,
    feature_bytes=400,
    partitions=2,
    trainers=2,
    rank=0,
    local_nodes=50_000,
    halo_nodes=20_000,
    batch_size=1_000,
    fanout=(10, 25),
    epochs=4,
    minibatches=400,
    cache="frequency",
    universe="halo",
    capacity_rows=5_000,
    window=1,
)
"""The run that policies are checked in. A window of 1 suits every `every:N`, a buffer without a period every gate."""

RUNS = (RUN, replace(RUN, rank=1, universe="remote", capacity_rows=1, minibatches=21))
"""The same, and another trainer's run, which is as small as can be."""


class BrokenContract(Exception):
    """A policy breaks a rule of `agents.policy.Policy`; the message names the rule and what broke it."""


def check_policy(subject: PolicyPlan | Factory) -> list[str]:
    """Check a plan, or a function that makes a fresh policy object (a class without arguments, for example).

    Returns the names of the rules that it keeps, and raises `BrokenContract` at the first that it doesn't. A plan that
    calls a language model is held only to the rules about single answers, of which some must be usable and none may
    fail: whether one repeats its answer is up to its server. Check an `LLMPolicy` over a scripted provider for the
    rest.
    """
    plan = subject if isinstance(subject, PolicyPlan) else None
    make = subject.make if isinstance(subject, PolicyPlan) else subject
    rules: dict[str, Callable[[], None]] = {
        "is a policy": lambda: _is_a_policy(make),
        "answers everything": lambda: _answers_everything(make),
    }
    if plan and plan.calls_model:
        rules["answers everything"] = lambda: _gives_usable_answers(make)
    else:
        rules["repeats under a seed"] = lambda: _repeats_under_a_seed(make)
        rules["resets"] = lambda: _resets(make)
        rules["is independent of other trainers"] = lambda: _is_independent_of_other_trainers(make)
    if plan:
        rules["is made by its name"] = lambda: _is_made_by_its_name(plan)
    if plan and not plan.timed:
        rules["looks at no times"] = lambda: _looks_at_no_times(make)
    for keep in rules.values():
        keep()
    return list(rules)


def observations(run: RunFacts) -> Iterator[tuple[str, Observation]]:
    """Valid observations of a run, each with what is special about it: ordinary ones, then extremes."""
    for minibatch in range(16):
        yield f"minibatch {minibatch}", _observation(run, minibatch, hit_rows=50 * minibatch)
    ordinary = _observation(run, 20)
    nothing = WindowCounts(
        minibatches=1, remote_rows=0, halo_rows=0, hit_rows=0, replacement_rows=0, stall_s=0.0, step_s=0.1
    )
    huge = 10**15
    yield "no remote rows", replace(ordinary, window=nothing, candidate_rows=0)
    yield "an empty buffer", replace(ordinary, occupied_rows=0, stale_rows=0)
    yield "a full buffer, all stale", replace(ordinary, stale_rows=run.capacity_rows)
    yield "no stall", replace(ordinary, window=replace(ordinary.window, stall_s=0.0))
    yield "steps of no length", replace(ordinary, window=replace(ordinary.window, stall_s=0.0, step_s=0.0))
    yield "only misses", _observation(run, 20, hit_rows=0)
    yield "only hits", _observation(run, 20, hit_rows=800)
    yield (
        "huge numbers",
        replace(
            _observation(run, 20, remote_rows=huge, halo_rows=huge, hit_rows=huge // 3, stall_s=1e12, step_s=1e12),
            candidate_rows=huge,
        ),
    )
    past = PastDecision(
        minibatch=10, decision=Decision(replace=True), before=ordinary.window, after=_observation(run, 20).window
    )
    failed = replace(past, decision=Decision(replace=False, outcome="failed"), after=None)
    yield "a decision without an effect yet", replace(ordinary, history=(failed,))
    yield "a long history", replace(ordinary, history=(past,) * 1_000)
    yield "the last minibatch", _observation(run, run.minibatches - 1)


def _observation(run: RunFacts, minibatch: int, **counts: float) -> Observation:
    usual = {"remote_rows": 1_000, "halo_rows": 800, "hit_rows": 300, "replacement_rows": 40}
    window = WindowCounts(minibatches=run.window, **{"stall_s": 0.05, "step_s": 0.2, **usual, **counts})  # type: ignore[arg-type]
    epoch = minibatch * run.epochs // run.minibatches
    return Observation(
        run=run,
        epoch=epoch,
        minibatch=minibatch,
        window=window,
        occupied_rows=run.capacity_rows,
        stale_rows=run.capacity_rows // 25,
        candidate_rows=3_000,
    )


def _is_a_policy(make: Factory) -> None:
    policy, another = make(), make()
    if not isinstance(policy, Policy):
        raise BrokenContract(f"{policy!r} is no policy: it needs `name`, `reset` and `decide`")
    if policy is another:
        raise BrokenContract(f"{policy.name!r}: the factory returns one object twice; every trainer needs its own")
    if policy.name != another.name:
        raise BrokenContract(f"two fresh policies have the names {policy.name!r} and {another.name!r}")
    try:
        parse_spec(policy.name)
    except (InputError, AttributeError):
        raise BrokenContract(f"`name` must be a spec string like every:16; it is {policy.name!r}") from None


def _answers_everything(make: Factory) -> None:
    """Every valid observation gets a valid decision, and is not changed by the policy."""
    for run in RUNS:
        _play(make(), run, SEED)


def _gives_usable_answers(make: Factory) -> None:
    """A model answers everything, some of it usably, and its server is there to the end."""
    for run in RUNS:
        policy = make()
        decisions = _play(policy, run, SEED)
        came: dict[Outcome, list[str]] = {}
        for decision in decisions:
            came.setdefault(decision.outcome, []).append(decision.reason)
        summary = "; ".join(f"{len(reasons)} {outcome} ({reasons[0]})" for outcome, reasons in came.items())
        if "valid" not in came:
            raise BrokenContract(f"{policy.name!r}: none of {len(decisions)} answers is usable: {summary}")
        if "failed" in came:
            raise BrokenContract(f"{policy.name!r}: the server fails: {summary}")


def _repeats_under_a_seed(make: Factory) -> None:
    _same("two fresh policies under one seed differ", _play(make(), RUN, SEED), _play(make(), RUN, SEED))


def _resets(make: Factory) -> None:
    policy = make()
    first = _play(policy, RUN, SEED)
    _play(policy, replace(RUN, rank=1), SEED + 1)
    _same("a policy that was used differs after `reset`", first, _play(policy, RUN, SEED))


def _is_independent_of_other_trainers(make: Factory) -> None:
    runs = [RUN, replace(RUN, rank=1)]
    alone = [_play(make(), run, SEED) for run in runs]
    policies = [make() for _ in runs]
    for policy, run in zip(policies, runs, strict=True):
        _reset(policy, run, SEED)
    together: list[list[Decision]] = [[], []]
    for pair in zip(*map(observations, runs), strict=True):
        for policy, (what, observation), decisions in zip(policies, pair, together, strict=True):
            decisions.append(_decide(policy, what, observation))
    for rank, decisions in enumerate(together):
        _same(f"trainer {rank} decides differently beside another trainer", alone[rank], decisions)


def _is_made_by_its_name(plan: PolicyPlan) -> None:
    name = plan.name if plan.sha256 else plan.make().name  # a user's own is made by its spec, whatever it calls itself
    try:
        rebuilt = resolve(name, plan.model)
    except InputError as error:
        raise BrokenContract(f"the name {name!r} makes no policy: {error}") from None
    if rebuilt != plan or rebuilt.make().name != plan.make().name:
        raise BrokenContract(f"the name {name!r} makes another policy: {rebuilt} instead of {plan}")
    if not plan.calls_model:
        _same(
            f"the name {name!r} makes another policy", _play(plan.make(), RUN, SEED), _play(rebuilt.make(), RUN, SEED)
        )


def _looks_at_no_times(make: Factory) -> None:
    """A policy that says so decides the same however long anything takes, and at once."""
    expected, policy = _play(make(), RUN, SEED), make()
    _reset(policy, replace(RUN, row_s=1e-3), SEED)
    found = []
    for what, observation in observations(replace(RUN, row_s=1e-3)):
        slower = replace(observation.window, stall_s=7 * observation.window.stall_s + 1.0, step_s=9.0)
        found.append(_decide(policy, what, replace(observation, window=slower)))
    _same(f"{policy.name!r} says that it looks at no times, and does", expected, found)
    if any(decision.latency_s for decision in found):
        raise BrokenContract(f"{policy.name!r} says that it looks at no times, and takes time to decide")


def _play(policy: Policy, run: RunFacts, seed: int) -> list[Decision]:
    _reset(policy, run, seed)
    return [_decide(policy, what, observation) for what, observation in observations(run)]


def _reset(policy: Policy, run: RunFacts, seed: int) -> None:
    try:
        policy.reset(run, seed)
    except InputError:
        raise  # the policy itself says that its options, or its model's server, don't suit this run
    except Exception as error:
        raise BrokenContract(f"{policy.name!r} raises on reset: {type(error).__name__}: {error}") from error


def _decide(policy: Policy, what: str, observation: Observation) -> Decision:
    """One decision, held to the rules that need nothing to compare with."""
    before = copy.deepcopy(observation)
    try:
        decision = policy.decide(observation)
    except Exception as error:
        raise BrokenContract(f"{policy.name!r} raises on {what}: {type(error).__name__}: {error}") from error
    if observation != before:
        raise BrokenContract(f"{policy.name!r} changes the observation of {what}")
    if not isinstance(decision, Decision):
        raise BrokenContract(f"{policy.name!r} answers {what} with {decision!r}, which is no Decision")
    valid = {
        "replace": isinstance(decision.replace, bool),
        "share": isinstance(decision.share, (int, float)) and 0.0 < decision.share <= 1.0,
        "ranking": decision.ranking in get_args(Ranking),
        "reason": isinstance(decision.reason, str),
        "expected_impact": isinstance(decision.expected_impact, str),
        "outcome": decision.outcome in get_args(Outcome),
        "latency_s": isinstance(decision.latency_s, (int, float)) and 0.0 <= decision.latency_s < math.inf,
    }
    for name, is_valid in valid.items():
        if not is_valid:
            raise BrokenContract(f"{policy.name!r} answers {what} with {name}={getattr(decision, name)!r}")
    return decision


def _same(complaint: str, expected: list[Decision], found: list[Decision]) -> None:
    """Compare two sequences of decisions apart from their latency."""
    for (what, _), a, b in zip(observations(RUN), expected, found, strict=True):
        if replace(a, latency_s=0.0) != replace(b, latency_s=0.0):
            raise BrokenContract(f"{complaint}, first at {what}: {a} and {b}")


app = typer.Typer(add_completion=False, rich_markup_mode="rich")

EXAMPLES = """
[bold]Examples[/bold]

python -m agents.check every:16

python -m agents.check mine.py:Mine:threshold=.5

python -m agents.check ollama:llama3 --model-host http://127.0.0.1:11434
"""


@app.command(epilog=EXAMPLES)
def main(
    spec: Annotated[str, typer.Argument(help="A policy, such as every:16 (python -m sim.run --list).")],
    model_host: ModelHost = None,
    timeout_s: TimeoutS = 60.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Hold a policy to the contract (`agents.policy`); a language model is asked anew, whatever it has answered before.

    Exit code 2 for a spec that makes no policy and for a model that can't be asked, 1 for a broken contract.
    """
    plan = resolve(spec, ModelOptions(host=model_host, timeout_s=timeout_s, keep_answers=False))
    try:
        rules = check_policy(plan)
    except BrokenContract as broken:
        print(f"broken: {broken}", file=sys.stderr)
        raise typer.Exit(1) from None
    if json:
        print_json({"policy": plan.name, "keeps": rules})
    elif not quiet:
        for rule in rules:
            print(f"{plan.name} {rule}")


if __name__ == "__main__":
    run_command(app)
