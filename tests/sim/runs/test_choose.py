"""Every option of a command is applied, or refused in one line that says why: none is ignored."""

import json
from inspect import signature

import numpy as np
import pytest

from agents.registry import ModelOptions, resolve
from sim import judge, run, tune
from sim.caches.lru import LRU
from sim.caches.registry import CACHES, cache_class
from sim.config import RunConfig, make_config
from sim.cost.model import cost_document
from sim.runs.choose import meaningless
from sim.runs.twin import Twin
from sim.sweeps import command

WRITTEN = {"out", "json", "quiet", "timeline", "breakdown", "plot"}
"""Options of what is written and shown."""

READ = {"trace", "policy", "trust", "listing", "config"}
"""Options of what is read, or shown instead of a run."""

MODEL = {"model_host", "ask_again", "timeout_s"}
CHOSEN = {"agent", "cache", "buffer", "init", "universe", "window", "mode"}
CHANGED = {
    "link", "latency_s", "cluster", "scenario", "depth", "compute_speed", "trainers_per_host", "feature_bytes",
    "owners", "cost", "engine", "seed",
}  # fmt: skip

SAMPLED = {
    "graph", "part_config", "parts", "trainers", "batches", "fanouts", "epochs", "sampling_seed", "like", "cost",
}  # fmt: skip
"""Options of runs that are sampled offline; `sim/sweeps/test_sampled.py` holds the sweep to them, `test_unseen.py` what
`--like` changes."""


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace(epochs=3)


@pytest.mark.parametrize(
    ("main", "options"),
    [
        (run.main, CHOSEN | CHANGED | {"like"}),
        (judge.main, CHOSEN | {"horizon", "seconds", "seeds"}),
        (
            tune.main,
            {"trials", "caches", "agents", "smallest", "largest", "universes", "link", "first_epochs", "seed"},
        ),
        (
            command.main,
            {"agents", "caches", "buffers", "universes", "inits", "windows", "modes", "links", "scenarios", "seeds"}
            | {"workers", "ray", "dry_run"}
            | SAMPLED,
        ),
    ],
)
def test_every_option_is_held_to_it(main, options):
    """So that a new one is looked at: here, in the tests of its command, and in `test_applied.py` for its field."""
    there = set(signature(main).parameters)
    assert there - WRITTEN - READ - MODEL == options


def test_every_option_reaches_the_configuration(trace, run_cli, tmp_path):
    (tmp_path / "cluster.toml").write_text("cores = 3\n")
    (tmp_path / "scenario.toml").write_text("[[congestion]]\nfactor = 0.5\n")
    np.save(tmp_path / "owners.npy", np.arange(400) % 2)
    (tmp_path / "cost.json").write_text(cost_document(Twin.open(trace).cost, {}))
    options = {
        "agent": "random:.5", "cache": "frequency", "buffer": "30", "init": "empty", "universe": "remote",
        "window": 2, "mode": "sync", "link": "10mbit", "latency_s": 0.001, "depth": 2, "compute_speed": 2.0,
        "trainers_per_host": 2, "feature_bytes": 100, "engine": "simpy", "seed": 4,
    }  # fmt: skip
    files = {name: tmp_path / f"{name}.toml" for name in ("cluster", "scenario")}
    files |= {"owners": tmp_path / "owners.npy", "cost": tmp_path / "cost.json"}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in (options | files).items()]
    code, _, err = run_cli("sim.run", "--trace", str(trace), "--out", str(tmp_path / "out"), "--quiet", *words)
    assert code == 0, err
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    usual = RunConfig(trace="", trace_sha256="", agent="").model_dump()
    same = {name for name, value in written.items() if value == usual[name]}
    assert same == {"agent_sha256", "cache_sha256"}
    assert {*options, *files} == CHOSEN | CHANGED


@pytest.mark.parametrize("command", ["sim.run", "sim.judge"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((["--agent", "none", *one], "the policy none has no buffer, so {} would mean nothing") for one in (
            ["--cache", "lru"], ["--buffer", "5%"], ["--init", "degree"], ["--universe", "halo"], ["--window", "2"],
            ["--mode", "sync"],
        )),
        (["--cache", "lru", "--window", "2"], "the cache lru asks no policy, so {} would mean nothing"),
        (["--cache", "lru", "--mode", "sync"], "the cache lru asks no policy, so {} would mean nothing"),
        (["--cache", "lru", "--agent", "always"], "the cache lru replaces on its own and asks no policy"),
        (["--cache", "lookahead", "--init", "degree"], "the cache lookahead chooses by itself what it holds at first"),
        (["--agent", "every:4", "--model-host", "gpu0"], "every:4 asks no language model, so --model-host would"),
        (["--agent", "every:4", "--timeout-s", "5"], "every:4 asks no language model, so --timeout-s would"),
        (["--agent", "every:4", "--ask-again"], "every:4 asks no language model, so --ask-again would"),
    ],
)  # fmt: skip
def test_what_would_mean_nothing_is_refused(trace, run_cli, tmp_path, command, options, message):
    out = tmp_path / "out"
    code, _, err = run_cli(command, "--trace", str(trace), *options, "--out", str(out))
    assert code == 2
    assert message.format(options[-2].lstrip("-")) in err
    assert not out.exists()


def test_a_seed_of_what_draws_nothing(trace, run_cli):
    code, _, err = run_cli("sim.run", "--trace", str(trace), "--agent", "pipeline", "--seed", "1")
    assert (code, "pipeline has no buffer, so seed would mean nothing" in err) == (2, True)


@pytest.mark.parametrize("name", [*CACHES, f"{__name__}:Own"])
def test_what_means_nothing_to_a_cache(name):
    """`tests/sim/caches/test_caches.py` holds `takes_init` and `managed` to what caches do."""
    kind, plan = cache_class(name), resolve("random:.5")
    reasons = meaningless(plan, make_config(trace="", trace_sha256="", agent=plan.name, cache=name))
    expected = ({"window", "mode"} if not kind.managed else set()) | ({"init"} if not kind.takes_init else set())
    assert set(reasons) == expected


class Own(LRU):
    """A cache of a user's own, which is LRU."""


def test_a_policy_file_says_all_but_seed_and_depth(trace, run_cli, tmp_path):
    best = tmp_path / "best.json"
    config = make_config(trace="", trace_sha256="", agent="random:.5", buffer="40", window=2, seed=3, depth=2)
    best.write_text(config.model_dump_json())
    options = ["--trace", str(trace), "--policy", str(best), "--quiet", "--out"]
    for name, words in {"file": [], "other": ["--seed", "0", "--depth", "1"]}.items():
        assert run_cli("sim.run", *options, str(tmp_path / name), *words)[0] == 0
        written = json.loads((tmp_path / name / "config.json").read_text())
        assert [written[field] for field in ("agent", "buffer", "window")] == ["random:0.5", "40", 2]
        assert [written[field] for field in ("seed", "depth")] == ([0, 1] if words else [3, 2])
    for words in (["--window", "1"], ["--mode", "async"], ["--cache", "score"], ["--agent", "never"]):
        code, _, err = run_cli("sim.run", *options, str(tmp_path / "refused"), *words)
        assert (code, f"names policy, cache and buffer; leave out {words[0]}" in err) == (2, True)


def test_model_options_are_all_held_to_it():
    assert set(ModelOptions.__dataclass_fields__) == {"host", "timeout_s", "keep_answers"}
