"""`check_policy` passes what keeps the contract, and says which rule is broken by what."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import asdict, replace

import polars as pl
import pytest
import typer

from agents.check import RUN, BrokenContract, check_policy, main, observations
from agents.policy import Decision
from agents.recorded import FACTS
from agents.registry import POLICIES, resolve
from traces.errors import InputError

RULES = [
    "is a policy",
    "answers everything",
    "repeats under a seed",
    "resets",
    "is independent of other trainers",
    "is made by its name",
]


class Mine:
    """A user's policy, which isn't in the registry: replaces when two windows in a row hit less than half."""

    name = "mine"

    def reset(self, run, seed):
        self.misses = 0

    def decide(self, observation):
        self.misses = self.misses + 1 if observation.window.hit_rate_halo < 0.5 else 0
        return Decision(replace=self.misses >= 2)


RULED = (
    "none", "pipeline", "never", "every:3", "always", "partial:0.05", "random:0.5", "threshold:0.4",
    "hysteresis:0.2,0.4", "hill-climb:4,3", "bandit:3", "cost-benefit:5", "massivegnn:4", "rudder-every:4",
)  # fmt: skip


@pytest.mark.parametrize("text", RULED)
def test_every_rule_is_kept_by(text):
    plan = resolve(text)
    assert check_policy(plan) == RULES + ["looks at no times"] * (not plan.timed)


@pytest.mark.parametrize("kind", ["logistic", "logistic,tune=0.1", "svm", "mlp", "trees", "tabnet"])
def test_every_rule_is_kept_by_a_classifier(kind, classifier_file):
    name, _, option = kind.partition(",")
    assert check_policy(resolve(f"classifier:{classifier_file(name)}" + f",{option}" * bool(option))) == RULES


def test_every_rule_is_kept_by_recorded_decisions(tmp_path):
    facts = {name: getattr(RUN, name) for name in FACTS}
    answer = asdict(Decision(replace=True, share=0.5, latency_s=0.25))
    rows = [{"rank": rank, "asked_minibatch": m, **facts, **answer} for rank in (0, 1) for m in range(0, 16, 2)]
    pl.DataFrame(rows).write_parquet(tmp_path / "decisions.parquet")
    # The check also shows runs that weren't recorded, which it must refuse: so the rules are tried one by one.
    policy = resolve(f"recorded:{tmp_path / 'decisions.parquet'}").make()
    policy.reset(RUN, 0)
    decisions = [policy.decide(observation) for _, observation in observations(RUN)]
    assert [one.replace for one in decisions[:16]] == [True, False] * 8
    assert decisions[0] == Decision(**answer)
    assert decisions[1].outcome == "failed"
    with pytest.raises(InputError, match="recorded with capacity_rows 5000, but this run has 1"):
        policy.reset(replace(RUN, capacity_rows=1), 0)


def test_a_log_without_who_answered_is_repeated(tmp_path):
    facts = {name: getattr(RUN, name) for name in FACTS}
    answer = asdict(Decision(replace=True, answered_by="m"))
    log = pl.DataFrame([{"rank": 0, "asked_minibatch": 0, **facts, **answer}])
    _, first = next(observations(RUN))
    for table, by in ((log, "m"), (log.drop("answered_by"), "")):
        table.write_parquet(tmp_path / "decisions.parquet")
        policy = resolve(f"recorded:{tmp_path / 'decisions.parquet'}").make()
        policy.reset(RUN, 0)
        assert policy.decide(first) == Decision(replace=True, answered_by=by)


def test_every_rule_is_kept_by_an_oracle_with_foresight():
    def make():
        oracle = resolve("oracle:8").make()
        oracle.foresee = lambda first, horizon: (first % 3, horizon % 7)
        return oracle

    assert check_policy(make) == RULES[:-1]
    with pytest.raises(InputError, match="a bound for the simulator"):
        check_policy(resolve("oracle:8"))


def test_every_policy_without_a_model_is_checked():
    checked = {text.partition(":")[0] for text in RULED} | {"classifier", "recorded", "oracle"}
    assert checked == {name for name, entry in POLICIES.items() if not entry.calls_model}


def test_a_class_of_ones_own_is_checked_without_being_registered():
    assert check_policy(Mine) == RULES[:-1]


def test_a_file_of_ones_own_is_checked_by_its_spec(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from agents.policy import Decision\n"
        "class Mine:\n"
        "    name, timed = 'mine', False\n"
        "    def __init__(self, share: float = .5): self.share = share\n"
        "    def reset(self, run, seed): pass\n"
        "    def decide(self, observation): return Decision(replace=True, share=self.share)\n"
        "class Timed(Mine):\n"
        "    def decide(self, observation): return Decision(replace=observation.window.stall_s > 1)\n"
    )
    assert check_policy(resolve("mine.py:Mine:.25")) == [*RULES, "looks at no times"]
    code, out, _ = run_cli("agents.check", "mine.py:Mine:.25")
    assert (code, out.count("mine.py:Mine:share=0.25 ")) == (0, len(RULES) + 1)
    code, _, err = run_cli("agents.check", "mine.py:Timed")
    assert (code, err.partition(", first at")[0]) == (1, "broken: 'mine' says that it looks at no times, and does")


class NoDecide:
    name = "mine"

    def reset(self, run, seed): ...


class NoName(Mine):
    name = ""


class AnotherNameEachTime(Mine):
    count = itertools.count()

    def __init__(self):
        self.name = f"mine:{next(self.count)}"


class Raises(Mine):
    def decide(self, observation):
        return Decision(replace=observation.window.stall_s / observation.window.step_s > 0.1)


class RaisesOnReset(Mine):
    def reset(self, run, seed):
        self.bins = seed / run.rank


class AnswersYes(Mine):
    def decide(self, observation):
        return "yes"


class AnswersWithInteger(Mine):
    def decide(self, observation):
        return Decision(replace=1)


class UnknownRanking(Mine):
    def decide(self, observation):
        return Decision(replace=True, ranking="luck")


class ChangesWhatItSees(Mine):
    def decide(self, observation):
        object.__setattr__(observation, "stale_rows", 0)
        return Decision(replace=True)


class LooksAtTheClock(Mine):
    clock = itertools.count()

    def decide(self, observation):
        return Decision(replace=next(self.clock) % 5 == 0)


class ForgetsToReset(Mine):
    def __init__(self):
        self.count = 0

    def reset(self, run, seed): ...

    def decide(self, observation):
        self.count += 1
        return Decision(replace=self.count % 5 == 0)


class SharesState(Mine):
    shared: list[int] = []  # noqa: RUF012

    def reset(self, run, seed):
        self.shared.clear()

    def decide(self, observation):
        self.shared.append(observation.minibatch)
        return Decision(replace=len(self.shared) % 5 == 0)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (NoDecide, "it needs `name`, `reset` and `decide`"),
        (NoName, "`name` must be a spec string"),
        (AnotherNameEachTime, "two fresh policies have the names 'mine:0' and 'mine:1'"),
        (Raises, "'mine' raises on steps of no length: ZeroDivisionError"),
        (RaisesOnReset, "'mine' raises on reset: ZeroDivisionError"),
        (AnswersYes, "'mine' answers minibatch 0 with 'yes', which is no Decision"),
        (AnswersWithInteger, "'mine' answers minibatch 0 with replace=1"),
        (UnknownRanking, "'mine' answers minibatch 0 with ranking='luck'"),
        (ChangesWhatItSees, "'mine' changes the observation of minibatch 0"),
        (LooksAtTheClock, "two fresh policies under one seed differ, first at minibatch"),
        (ForgetsToReset, "a policy that was used differs after `reset`, first at minibatch"),
        (SharesState, "decides differently beside another trainer, first at minibatch"),
    ],
)
def test_a_broken_rule_is_named_with_what_broke_it(policy, message):
    with pytest.raises(BrokenContract) as broken:
        check_policy(policy)
    assert message in str(broken.value)


def test_trainers_that_are_given_one_object_are_caught():
    only = Mine()
    with pytest.raises(BrokenContract, match="returns one object twice"):
        check_policy(lambda: only)


@pytest.mark.parametrize(
    ("name", "message"),
    [("mine", "'mine' makes no policy"), ("every:5", "'every:5' makes another policy"), ("every:4", "first at")],
)
def test_a_name_that_makes_something_else_is_caught(name, message):
    class Misnamed(Mine):
        def __init__(self):
            self.name = name

    with pytest.raises(BrokenContract, match=message):
        check_policy(replace(resolve("every:4"), factory=Misnamed))


def test_what_the_check_shows_is_valid():
    for what, observation in observations(RUN):
        window = observation.window
        assert 0 <= window.hit_rows <= window.remote_rows, what
        assert window.halo_rows <= window.remote_rows, what
        assert 0 <= observation.stale_rows <= observation.occupied_rows <= RUN.capacity_rows, what
        assert observation.minibatches_left >= 0, what


@pytest.mark.parametrize(
    ("spec", "code", "line"),
    [("every:3", 0, "every:3 is a policy\n"), ("every:0", 2, "error: every:0 must count at least 1 minibatch\n")],
)
def test_on_the_command_line(spec, code, line):
    done = subprocess.run([sys.executable, "-m", "agents.check", spec], capture_output=True, text=True)
    assert done.returncode == code
    assert (done.stdout + done.stderr).startswith(line)


def test_a_broken_contract_exits_with_1(monkeypatch, capsys):
    broken = replace(resolve("every:4"), factory=AnswersYes)
    monkeypatch.setattr("agents.check.resolve", lambda *_: broken)
    with pytest.raises(typer.Exit) as exited:
        main("every:4")
    assert exited.value.exit_code == 1
    assert capsys.readouterr().err.startswith("broken: 'mine' answers minibatch 0 with 'yes'")
