"""What defines a run, and that its id stays what it was."""

from typing import get_args

import pytest

from sim.caches.cache import Init
from sim.config import ADDED, RunConfig
from sim.runs import options
from sim.runs.former_names import COLUMNS

IDS = {  # as commit a0b2d55 made them
    ("trickle:0.05", "likeliest"): "cf27706c253fefba",
    ("climb:16,16", "score"): "0b368e36d6d6150b",
    ("benefit:32", "hindsight"): "58dc6fbf97abe5e1",
    ("never", "infinite"): "e932a537d414e983",
    ("every:16", "frequency:half_life=5000"): "b6ceb94aef3e79ed",
}


@pytest.mark.parametrize(("agent", "cache"), IDS)
def test_a_renamed_policy_or_cache_has_the_id_that_it_had(agent, cache):
    now = {"agent": COLUMNS["agent"].now(agent), "cache": COLUMNS["cache"].now(cache)}
    before, after = (
        RunConfig(trace="t", trace_sha256="s", **names) for names in ({"agent": agent, "cache": cache}, now)
    )
    assert before == after
    assert before.id == after.id == IDS[agent, cache]
    assert (after.agent, after.cache) == (now["agent"], now["cache"])


def test_every_start_can_be_chosen_on_the_command_line():
    starts, nothing = get_args(get_args(options.Init)[0])
    assert (get_args(starts), nothing) == (get_args(Init), type(None))


def test_a_field_that_was_added_later_counts_only_where_it_says_something():
    one = RunConfig(trace="t", trace_sha256="s", agent="never")
    for name in ADDED:
        assert one.model_copy(update={name: RunConfig.model_fields[name].default}).id == one.id
    assert one.model_copy(update={"engine": "simpy"}).id != one.id
