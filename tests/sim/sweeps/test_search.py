"""How a space is searched: by whom, and what is given up."""

import pytest

from sim.runs.twin import Twin

optuna = pytest.importorskip("optuna")

from sim.sweeps.search import SeededByTrial, Space, begun_trials, objective  # noqa: E402  (needs optuna)

SPACE = Space(
    caches=["lru", "score"], agents=["never", "every"], universes=["halo"], smallest=1.0, largest=50.0,
    fixed={"trace": "t", "trace_sha256": "s"},
)  # fmt: skip


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace(epochs=3)


def test_two_processes_on_one_study_suggest_different_things():
    storage = optuna.storages.InMemoryStorage()
    made = {"storage": storage, "study_name": "s", "directions": ["minimize"] * 2, "load_if_exists": True}
    studies = [optuna.create_study(sampler=SeededByTrial(seed=0), **made) for _ in range(2)]
    configs = [SPACE.suggest(study.ask()) for _ in range(6) for study in studies]
    assert len(set(configs)) == len(configs)
    assert begun_trials(studies[0]) == len(configs)


def test_a_trial_is_suggested_by_the_seed_its_number_and_the_trials_before_it():
    def suggested(seed):
        study = optuna.create_study(directions=["minimize"] * 2, sampler=SeededByTrial(seed))
        found = []
        for number in range(20):
            trial = study.ask()
            found.append(SPACE.suggest(trial))
            study.tell(trial, [float(number % 7), float(number % 3)])
        return found

    assert suggested(0) == suggested(0)
    assert not set(suggested(0)) & set(suggested(1))


@pytest.mark.parametrize(
    ("first_epoch_s", "buffer_bytes", "given_up"), [(0.0, 0, True), (0.0, 10**9, False), (9.0, 0, False)]
)
def test_a_trial_is_given_up_when_one_with_no_larger_buffer_was_clearly_faster(
    trace, first_epoch_s, buffer_bytes, given_up
):
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
