"""Exact decisions of the rules."""

from __future__ import annotations

import pytest

from agents.policy import Decision
from agents.registry import resolve
from traces.errors import InputError


def replacements(text, run, make_observation, seed=0, **counts):
    """The minibatches, of the first 40, after which a policy replaces."""
    policy = resolve(text).make()
    policy.reset(run, seed)
    windows = range(run.window - 1, 40, run.window)
    return [m for m in windows if policy.decide(make_observation(run, m, **counts)).replace]


@pytest.mark.parametrize("text", ["none", "pipeline", "never"])
def test_policies_that_keep_the_buffer_never_replace(text, make_run, make_observation):
    assert replacements(text, make_run(), make_observation) == []


@pytest.mark.parametrize("window", [1, 2, 8, 16])
def test_every_replaces_after_each_nth_minibatch_whatever_the_window(window, make_run, make_observation):
    assert replacements("every:16", make_run(window=window), make_observation) == [15, 31]


@pytest.mark.parametrize("window", [3, 15, 17, 32])
def test_every_refuses_a_window_that_it_would_overshoot(window, make_run):
    with pytest.raises(InputError, match=f"every:16 can't be kept with a decision every {window} minibatches"):
        resolve("every:16").make().reset(make_run(window=window), seed=0)


def test_always_replaces_after_every_window(make_run, make_observation):
    assert replacements("always", make_run(window=10), make_observation) == [9, 19, 29, 39]


def test_random_draws_one_sequence_a_seed_and_trainer(make_run, make_observation):
    def draws(seed, rank):
        return replacements("random:0.5", make_run(rank=rank), make_observation, seed)

    assert draws(1, 0) == draws(1, 0)
    assert len({tuple(draws(seed, rank)) for seed in (1, 2) for rank in (0, 1)}) == 4


@pytest.mark.parametrize(("probability", "expected"), [("0", 0), ("1", 40)])
def test_random_is_sure_at_its_ends(probability, expected, make_run, make_observation):
    assert len(replacements(f"random:{probability}", make_run(), make_observation)) == expected


def test_random_keeps_its_rate(make_run, make_observation):
    policy = resolve("random:0.2").make()
    policy.reset(make_run(), seed=0)
    rate = sum(policy.decide(make_observation()).replace for _ in range(10_000)) / 10_000
    assert rate == pytest.approx(0.2, abs=0.015)  # 0.2 +- 3.75 standard deviations


@pytest.mark.parametrize(
    ("universe", "hit_rows", "replace"),
    [("halo", 399, True), ("halo", 400, False), ("remote", 499, True), ("remote", 500, False)],
)
def test_threshold_counts_hits_over_the_rows_that_may_be_cached(
    universe, hit_rows, replace, make_run, make_observation
):
    policy = resolve("threshold:0.5").make()
    run = make_run(universe=universe)
    policy.reset(run, seed=0)
    observation = make_observation(run, remote_rows=1_000, halo_rows=800, hit_rows=hit_rows)
    assert policy.decide(observation) == Decision(replace=replace)
