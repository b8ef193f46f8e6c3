"""The search: resumable, gives up what is beaten, and what it finds can be run."""

import json

import numpy as np
import polars as pl
import pytest

pytest.importorskip("optuna")


@pytest.fixture
def trace(write_trace, minibatch):
    rng = np.random.default_rng(0)
    times = {"sample_s": 0.001, "forward_s": 0.002, "backward_s": 0.002, "fetch_s": 0.004, "step_s": 0.01}

    def trainer(first):
        ids = lambda: sorted(set((first + 200 * rng.random(60) ** 2).astype(int).tolist()))  # noqa: E731
        return [[minibatch(ids(), times, local_nodes=50) for _ in range(8)] for _ in range(3)]

    return write_trace([trainer(200), trainer(0)], nodes_per_partition=200, halo=[range(200, 350), range(150)])


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--agents", "nobody"], "there is no policy 'nobody'"),
        (["--caches", "nothing"], "there is no cache 'nothing'"),
        (["--smallest", "20", "--largest", "10"], "is above --largest"),
        (["--link", "fast"], "link rate 'fast'"),
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
    left_out = dict.fromkeys(("agent", "cache", "buffer", "init", "universe"))
    _, options = choose(policy=path, **left_out, window=1, mode="async", seed=0, model=UNASKED, depth=given)
    assert options["depth"] == depth


def test_a_policy_file_and_options_are_not_mixed(run_cli, trace, tmp_path):
    code, _, error = run_cli("sim.run", "--trace", str(trace), "--policy", str(tmp_path / "x"), "--cache", "lru")
    assert code == 2
    assert "leave out --cache" in error


@pytest.mark.parametrize(
    ("first_epoch_s", "buffer_bytes", "given_up"), [(0.0, 0, True), (0.0, 10**9, False), (9.0, 0, False)]
)
def test_a_trial_is_given_up_when_one_with_no_larger_buffer_was_clearly_faster(
    trace, first_epoch_s, buffer_bytes, given_up
):
    import optuna

    from sim.runs.twin import Twin
    from sim.tune import objective

    study = optuna.create_study(directions=["minimize", "minimize"])
    attributes = {"first_epoch_s": first_epoch_s}
    study.add_trial(optuna.trial.create_trial(values=[0.0, buffer_bytes], user_attrs=attributes))
    twin = Twin.open(trace, {"halo"})
    config = twin.config("never", buffer="10%")
    if given_up:
        with pytest.raises(optuna.TrialPruned):
            objective(study.ask(), config, twin.head(1), twin)
    else:
        result = twin.simulate(config, ahead=True).row
        found = objective(study.ask(), config, twin.head(1), twin)
        assert found == (result["epoch_s_mean"], result["buffer_bytes"])
