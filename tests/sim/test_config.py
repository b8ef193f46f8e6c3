"""What defines a run, and that its id stays what it was."""

from typing import get_args

import pytest

from sim.caches.cache import Init
from sim.config import ADDED, RunConfig, read_policy
from sim.counts.policy_runs import plan_of_config
from sim.runs import options
from sim.runs.former_names import COLUMNS
from traces.checksum import sha256_of
from traces.errors import InputError

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a policy whose import leaves a marker."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("open('marker', 'w')\nclass Mine: pass\n")
    return tmp_path


def test_code_of_a_users_own_is_known_by_its_checksum_and_not_run_for_it(folder):
    def config(**options):
        return RunConfig(**{"trace": "t", "trace_sha256": "s", "agent": "never"} | options)

    own = config(agent="mine.py:Mine:3", cache="mine.py:Mine")
    assert own.agent_sha256 == own.cache_sha256 == sha256_of(folder / "mine.py")
    assert own.user_code == ["mine.py:Mine:3", "mine.py:Mine"]
    assert RunConfig.model_validate_json(own.model_dump_json()) == own
    (folder / "mine.py").write_text("class Mine: pass\n")
    assert RunConfig.model_validate_json(own.model_dump_json()) == own
    assert config(agent="mine.py:Mine:3", cache="mine.py:Mine").id != own.id
    (folder / "mine.py").unlink()
    assert RunConfig.model_validate_json(own.model_dump_json()) == own
    with pytest.raises(InputError, match=r"mine.py:Mine: there is no file mine.py"):
        config(agent="mine.py:Mine:3")
    assert config(agent="not_installed", cache="nor_this:3").user_code == []
    assert not (folder / "marker").exists()


@pytest.mark.parametrize("names", [{"agent": "object:mine"}, {"agent": "never", "cache": "__main__:Mine"}])
def test_what_has_no_source_is_not_written(names):
    config = RunConfig(trace="t", trace_sha256="s", agent="never").model_copy(update=names)
    with pytest.raises(InputError, match="has no source that could be told from another; define its class in a file"):
        config.require_source()
    config.model_copy(update={"agent_sha256": "1", "cache_sha256": "1"}).require_source()
    RunConfig(trace="t", trace_sha256="s", agent="never").require_source()


def test_a_file_that_names_code_asks_for_trust_and_runs_nothing(folder):
    path = folder / "best.json"
    path.write_text('{"trace": "t", "trace_sha256": "s", "agent": "mine.py:Mine", "cache": "lru"}')
    with pytest.raises(
        InputError, match=r"--policy .*best.json: names code that would run here, mine.py:Mine; .*--trust"
    ):
        read_policy(path)
    assert read_policy(path, trust=True).agent == "mine.py:Mine"
    assert not (folder / "marker").exists()


@pytest.mark.parametrize("agent", ["scripted:{}", "recorded:{}", "classifier:{},tune=.1", "classifier:file={}"])
def test_a_run_is_another_one_when_the_file_that_its_policy_reads_has_changed(tmp_path, agent):
    """A sweep took the results under the file's earlier content for those under the new one."""
    file = tmp_path / "answers"
    ids = set()
    for content in ("one", "other"):
        file.write_text(content)
        config = RunConfig(trace="t", trace_sha256="s", agent=agent.format(file))
        assert config.agent_sha256 == sha256_of(file)
        ids.add(config.id)
    assert len(ids) == 2
    assert RunConfig(trace="t", trace_sha256="s", agent="recorded:nowhere").agent_sha256 == ""


def test_another_file_than_the_one_of_a_configuration_is_refused(tmp_path):
    file = tmp_path / "answers"
    file.write_text("one")
    config = RunConfig(trace="t", trace_sha256="s", agent=f"scripted:{file}")
    assert plan_of_config(config).sha256 == config.agent_sha256
    file.write_text("the other")
    with pytest.raises(InputError, match=f"its source has the checksum .* made with {config.agent_sha256[:16]}"):
        plan_of_config(config)
