"""The search of `sim.tune`: a space of configurations, searched by optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sim.caches.registry import cache_class, may_ask_policy
from sim.config import RunConfig, make_config
from sim.runs.twin import Twin

EVERY = (1, 128)
RANGES = {"every": EVERY, "random": (0.01, 1.0), "threshold": (0.05, 0.95), "partial": (0.01, 1.0)}
"""Ranges for the parameter of policies that are given by name alone."""

INITS = ("degree", "degree-global", "empty")

MARGIN = 0.1
"""A trial is given up when, over the first epochs, one with no larger buffer was faster by more than this share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The search space. Buffers are between two shares of the halo, in percent; `fixed` holds the fields that all
    configurations share, `first_epochs` and `seed` belong to the search itself."""

    caches: Sequence[str]
    agents: Sequence[str]
    universes: Sequence[str]
    smallest: float
    largest: float
    fixed: Mapping[str, Any]
    first_epochs: int = 2
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """The space as JSON. A study is bound to one space."""
        return {name: list(one) if isinstance(one, tuple | list) else one for name, one in asdict(self).items()}

    def first_trials(self) -> Iterator[dict[str, Any]]:
        """Every cache in every universe, with the largest buffer."""
        for universe in reversed(self.universes):
            for cache in self.caches:
                yield {"cache": cache, "universe": universe, "buffer": self.largest}

    def suggest(self, trial: optuna.Trial) -> RunConfig:
        """The configuration of a trial. Only caches that ask a policy get one."""
        cache = trial.suggest_categorical("cache", self.caches)
        agent = trial.suggest_categorical("agent", self.agents) if may_ask_policy(cache) else "never"
        if agent == "every":
            agent = f"every:{trial.suggest_int('every', *EVERY, log=True)}"
        elif agent in RANGES:
            agent = f"{agent}:{trial.suggest_float(agent, *RANGES[agent]):.3g}"
        options = {"init": trial.suggest_categorical("init", INITS)} if cache_class(cache).takes_init else {}
        return make_config(
            cache=cache,
            agent=agent,
            buffer=f"{trial.suggest_float('buffer', self.smallest, self.largest, log=True):.3g}%",
            universe=trial.suggest_categorical("universe", self.universes),
            **options,
            **self.fixed,
        )


class SeededByTrial(BaseSampler):
    """Optuna's tree-structured Parzen estimator, seeded anew for every trial by its number.

    So a resumed study makes the same trials as an uninterrupted one, and processes that share a study make different
    ones.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._of_trial = TPESampler()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Called by optuna before it asks for parameters, as all that follow."""
        [seed] = np.random.SeedSequence((self._seed, trial.number)).generate_state(1)
        self._of_trial = TPESampler(seed=int(seed))
        self._of_trial.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._of_trial.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of_trial.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._of_trial.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._of_trial.after_trial(study, trial, state, values)


def objective(trial: optuna.Trial, config: RunConfig, first: Twin, twin: Twin) -> tuple[float, int]:
    """Mean epoch time and bytes of a trainer's buffer.

    The first epochs are simulated first: a trial that a finished one already beat clearly, with no larger buffer, is
    given up there (optuna's own pruners know one objective only).
    """
    begun = first.simulate(config, ahead=True).row
    trial.set_user_attr("config", config.model_dump(mode="json"))
    trial.set_user_attr("first_epoch_s", begun["epoch_s_mean"])
    for other in trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        beaten = other.user_attrs["first_epoch_s"] * (1 + MARGIN) < begun["epoch_s_mean"]
        if beaten and other.values[1] <= begun["buffer_bytes"]:
            raise optuna.TrialPruned
    result = twin.simulate(config, ahead=True).row
    return result["epoch_s_mean"], result["buffer_bytes"]


def begun_trials(study: optuna.Study) -> int:
    """Trials that have begun, ended or not."""
    return sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
