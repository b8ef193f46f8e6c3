"""Policies replayed in users' scripts: rows held against their owners', counts against the simulator's."""

import json
from pathlib import Path

import pytest

from replay.comparison import compare
from sim.config import RunConfig, read_policy
from traces.cluster.local import LocalCluster
from traces.reader import Trace


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A configuration as `sim.tune` writes it."""
    path = tmp_path / "best.json"
    config = RunConfig(trace="t.parquet", trace_sha256="", agent="every:4", cache="score", buffer="25%", init="empty")
    path.write_text(config.model_dump_json())
    return path


@pytest.fixture
def own_policy(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a policy and a cache of the user's own, in a file of the working folder."""
    monkeypatch.chdir(tmp_path)
    code = "from agents.heuristics.fixed import Every\nfrom sim.caches.score import Score\n"
    (tmp_path / "mine.py").write_text(f"{code}class Mine(Every):\n    pass\nclass Cache(Score):\n    pass\n")
    config = read_policy(policy)
    own = RunConfig(**config.model_dump() | {"agent": "mine.py:Mine:4", "cache": "mine.py:Cache"})
    (path := tmp_path / "own.json").write_text(own.model_dump_json())
    return path


def assert_counts_equal(folder: Path, minibatches: int, trust: bool = False) -> None:
    compared = compare(folder, trust=trust)
    assert compared.differences == []
    assert compared.minibatches == minibatches
    assert compared.live_hits == compared.simulated_hits > 0
    assert compared.live_fetched_rows == compared.simulated_fetched_rows
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["wrong_rows"] == 0
    assert summary["checked_rows"] == Trace(folder / "trace.parquet").steps()["input_nodes"].sum() > 0


def test_a_script_as_it_is(recorded_job, homogeneous, scripts, job_arguments, own_policy, tmp_path, run_cli) -> None:
    """Trainers have 12 and 13 minibatches an epoch; the policy replaces, and evaluation goes on in between."""
    folder = tmp_path / "live"
    code, out, err = run_cli(
        "replay.live", "--policy", str(own_policy), "--trust", "--trace", str(recorded_job), "--part-config",
        str(homogeneous), "--local", "2", "--check", "--out", str(folder), "--",
        str(scripts / "node_classification.py"), *job_arguments,
    )  # fmt: skip
    assert code == 0, err
    assert "replay.compare" in out
    assert_counts_equal(folder, 2 * 2 * 13, trust=True)
    header = Trace(folder / "trace.parquet").header
    assert header.trainer_minibatches == (12, 13)
    assert header.policy == "mine.py:Mine:minibatches=4"
    assert header.training.depth == 1
    assert header.graph.kind == "synthetic"  # as the captured run said


@pytest.fixture
def with_two_lines(recorded_job, homogeneous, scripts, job_arguments, tmp_path):
    """Runs the script with `prefetch` in it, under a configuration; gives what the trainers print of their losses."""
    loop, text = "    model = nn.parallel", (scripts / "node_classification.py").read_text()
    assert text.count(loop) == 1

    def run(folder: Path, check: bool, **config: str) -> list[str]:
        policy, script, logs = (folder.with_suffix(suffix) for suffix in (".json", ".py", ".logs"))
        policy.write_text(RunConfig(trace="", trace_sha256="", **config).model_dump_json())
        files = f"policy={str(policy)!r}, trace={str(recorded_job)!r}, out={str(folder)!r}, check={check}"
        lines = f"    from replay.prefetch import prefetch\n    loader = prefetch(loader, graph, {files})\n"
        script.write_text(text.replace(loop, lines + loop))
        words = {"words": [str(script), *job_arguments]}
        LocalCluster(parts=2, timeout_s=600).run(homogeneous, f"{scripts / 'plain.py'}:main", words, logs)
        printed = [line for log in sorted(logs.iterdir()) for line in log.read_text().splitlines()]
        return [line for line in printed if " loss " in line]

    return run


def test_two_lines_in_a_script(with_two_lines, tmp_path) -> None:
    """It samples four minibatches ahead: the losses are those of the same script without, also with unequal trainers
    and evaluation in between."""
    folder = tmp_path / "ahead"
    ahead = {"agent": "never", "cache": "lookahead:4,beyond=frequency", "buffer": "25%", "universe": "remote"}
    losses = with_two_lines(folder, True, **ahead)
    assert_counts_equal(folder, 2 * 2 * 13)
    assert len(losses) == 2 * 2
    assert losses == with_two_lines(tmp_path / "plain", False, agent="pipeline")


def test_the_prefix_in_somebodys_own_launcher(recorded_types, typed, scripts, job_arguments, tmp_path) -> None:
    """Node types of several widths, sampled by processes of their own, evaluated in the middle of an epoch.

    Authors' rows, which training writes, are asked of their owners every time.
    """
    folder, script = tmp_path / "live", [str(scripts / "typed_nodes.py"), *job_arguments]
    words = ["replay.live", "--cache", "lru", "--buffer", "20kB", "--universe", "remote", "--check", "--trace"]
    cluster = LocalCluster(parts=2, timeout_s=600, samplers_per_trainer=1)
    run = cluster.run(
        typed,
        f"{scripts / 'prefix.py'}:main",
        {"words": [*words, str(recorded_types), "--out", str(folder), "--", *script]},
        tmp_path / "logs",
    )
    assert run.values == ["client", "client"]
    assert_counts_equal(folder, 2 * 2 * 10)
    header = Trace(folder / "trace.parquet").header
    assert header.graph.feature_bytes == 128  # a slot has room for the widest row
    assert header.training.samplers == 1
    assert [one.features[0].trainable for one in header.node_types] == [True, False, False]


def test_rows_that_training_writes_are_found_out(
    recorded_job, homogeneous, scripts, job_arguments, policy, tmp_path, run_cli
) -> None:
    folder = tmp_path / "live"
    code, _, err = run_cli(
        "replay.live", "--policy", str(policy), "--trace", str(recorded_job), "--part-config", str(homogeneous),
        "--local", "2", "--out", str(folder), "--", str(scripts / "node_classification.py"), *job_arguments,
        "--write_features",
    )  # fmt: skip
    assert code == 1
    assert "training writes 'node" in err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trace", "t.parquet"], "no script"),
        (["--", "train.py"], "--trace is missing"),
        (["--trace", "t.parquet", "--batch", "5", "--", "train.py"], "--batch and a script"),
        (["--trace", "none.parquet", "--", "train.py"], "none.parquet: no such file"),
        (["--trace", "none.parquet", "--link", "1gbit", "--", "train.py"], "none.parquet: no such file"),
    ],
)
def test_options_that_cannot_be_applied_are_refused(run_cli, words, message) -> None:
    code, _, err = run_cli("replay.live", *words)
    assert code == 2
    assert message in err


def test_a_recorded_job_is_simulated_swept_and_tuned(recorded_job, tmp_path, run_cli) -> None:
    """A trace of trainers with different numbers of minibatches goes everywhere that ours go."""
    trace = str(recorded_job)
    assert run_cli("traces.info", trace)[0] == 0
    code, out, err = run_cli("sim.run", "--trace", trace, "--agent", "every:4", "--buffer", "25%", "--json")
    assert code == 0, err
    assert json.loads(out)
    for words in (
        ("sim.calibrate", trace, "--out", str(tmp_path / "cost.json")),
        ("sim.tune", "--trace", trace, "--trials", "2", "--out", str(tmp_path / "tuned")),
        ("sim.sweeps.command", "--trace", trace, "--caches", "lru", "--agents", "none", "--buffers", "25%",
         "--out", str(tmp_path / "swept")),
    ):  # fmt: skip
        code, _, err = run_cli(*words)
        assert code == 0, err
    assert (tmp_path / "tuned" / "best.json").exists()
