"""The search: resumable, gives up what is beaten, and what it finds can be run."""

import json

import polars as pl
import pytest

from sim.caches.registry import live_caches

optuna = pytest.importorskip("optuna")


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace(epochs=3)


def test_a_study_goes_on_where_it_stopped_and_its_best_can_be_run(run_cli, trace, tmp_path):
    out = tmp_path / "tune"
    options = ["--trace", str(trace), "--out", str(out), "--first-epochs", "1"]
    code, printed, _ = run_cli("sim.tune", *options, "--trials", "6")
    assert code == 0
    assert printed.startswith("SYNTHETIC")
    code, printed, _ = run_cli("sim.tune", *options, "--trials", "30")
    assert code == 0
    front = pl.read_csv(out / "front.csv")
    assert front["epoch_s_mean"].is_sorted()
    assert front["buffer_bytes"].is_sorted(descending=True)
    best = json.loads((out / "best.json").read_text())
    assert (best["cache"], best["agent"], best["buffer"]) == front.row(0)[2:5]
    code, _, _ = run_cli(
        "sim.run", "--trace", str(trace), "--policy", str(out / "best.json"), "--out", str(tmp_path / "r")
    )
    assert code == 0
    runs = pl.read_parquet(tmp_path / "r" / "runs.parquet").filter(policy=best["agent"])
    assert runs["epoch_s_mean"][0] == pytest.approx(front["epoch_s_mean"][0], rel=1e-12)
    assert runs["cache"][0] == best["cache"]


def test_the_trials_of_earlier_calls_are_counted(run_cli, trace, tmp_path):
    options = ["--trace", str(trace), "--out", str(tmp_path), "--trials", "5"]
    first = run_cli("sim.tune", *options)[1]
    assert run_cli("sim.tune", *options)[1] == first


def trials_of(out):
    """The parameters of all trials that were begun, in order."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(out / "study.log")))
    [name] = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [trial.params for trial in trials if trial.state != optuna.trial.TrialState.WAITING]


def test_a_search_that_was_stopped_makes_the_trials_of_one_that_was_not(run_cli, trace, tmp_path):
    options = ["--trace", str(trace), "--caches", "lru score", "--universes", "halo", "--trials"]
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for trials in ("4", "8"):
        assert run_cli("sim.tune", *options, trials, "--out", str(stopped))[0] == 0
    assert run_cli("sim.tune", *options, "8", "--out", str(whole))[0] == 0
    assert trials_of(stopped) == trials_of(whole)
    assert len({json.dumps(one, sort_keys=True) for one in trials_of(whole)}) == 8
    for name in ("best.json", "front.csv"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


def test_every_cache_that_can_run_live_is_tried_at_first_where_the_trace_has_what_it_needs(run_cli, trace, tmp_path):
    code, printed, _ = run_cli("sim.tune", "--trace", str(trace), "--out", str(tmp_path), "--trials", "40")
    assert code == 0
    assert "left out: vip: the trace has no column `vip`" in printed
    here = [name for name in live_caches() if name not in ("vip", "vip-demand")]
    first = trials_of(tmp_path)[: 2 * len(here)]
    tried = [(one["universe"], one["cache"]) for one in first]
    assert tried == [(universe, name) for universe in ("remote", "halo") for name in here]
    assert {one["buffer"] for one in first} == {50.0}


def test_a_folder_holds_one_search(run_cli, trace, tmp_path):
    options = ["--trace", str(trace), "--out", str(tmp_path), "--trials", "1"]
    assert run_cli("sim.tune", *options)[0] == 0
    best = (tmp_path / "best.json").read_bytes()
    code, _, error = run_cli("sim.tune", *options, "--link", "1mbit", "--largest", "10", "--seed", "1")
    assert code == 2
    assert "holds a search of other options (largest, fixed, seed)" in error
    code, _, error = run_cli("sim.tune", *options, "--first-epochs", "1")  # trials are given up by what they are after
    assert (code, "other options (first_epochs)" in error) == (2, True)
    assert (tmp_path / "best.json").read_bytes() == best


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--agents", "nobody"], "there is no policy 'nobody'"),
        (["--agents", "never pipeline"], "--agents pipeline: has no buffer to search for"),
        (["--agents", "every", "--caches", "lru fifo"], "--agents every: none of the caches lru, fifo asks a policy"),
        (["--caches", "nothing"], "there is no cache 'nothing'"),
        (["--smallest", "20", "--largest", "10"], "is above --largest"),
        (["--link", "fast"], "link rate 'fast'"),
        (["--universes", "halo world"], "--universes world: there are halo, remote"),
        (["--caches", "lru vip"], "vip: the trace has no column `vip`"),
    ],
)
def test_input_that_cannot_be(run_cli, trace, tmp_path, options, message):
    code, _, error = run_cli("sim.tune", "--trace", str(trace), "--out", str(tmp_path), *options)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "Invalid JSON"), ('{"agent": "never"}', "trace: Field required"), (None, "can't be read")],
)
def test_a_policy_file_that_is_none(run_cli, trace, tmp_path, text, message):
    path = tmp_path / "best.json"
    if text is not None:
        path.write_text(text)
    code, _, error = run_cli("sim.run", "--trace", str(trace), "--policy", str(path))
    assert code == 2
    assert message in error


@pytest.mark.parametrize(("given", "depth"), [(None, 3), (1, 1)])
def test_a_policy_files_depth_counts_unless_another_is_given(tmp_path, given, depth):
    from agents.registry import UNASKED
    from sim.config import RunConfig
    from sim.runs.choose import choose

    path = tmp_path / "best.json"
    path.write_text(RunConfig(trace="", trace_sha256="", agent="pipeline", depth=3).model_dump_json())
    left_out = dict.fromkeys(("agent", "cache", "buffer", "init", "universe", "window", "mode", "seed"))
    _, options = choose(policy=path, **left_out, model=UNASKED, depth=given)
    assert options["depth"] == depth


def test_a_policy_file_and_options_are_not_mixed(run_cli, trace, tmp_path):
    code, _, error = run_cli("sim.run", "--trace", str(trace), "--policy", str(tmp_path / "x"), "--cache", "lru")
    assert code == 2
    assert "leave out --cache" in error
