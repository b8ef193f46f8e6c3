"""Code that a file names doesn't run unless a person says so: every command that reads such a file refuses it first."""

import json
from pathlib import Path

import polars as pl
import pytest

from sim.config import RunConfig
from traces.reader import Trace

DEBIAN = Path(__file__).parents[1] / "traces" / "debian.parquet"
EVIL = "open('marker', 'w')\nfrom sim.caches.lru import LRU\nfrom agents.heuristics.fixed import Always\n"

GRID = """
[[blocks]]
graph = "data/small"
machines = [2]
links = ["1gbit"]
policies = [{ agent = "none" }, { agent = "never", cache = "evil.py:LRU" }]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with files of every kind that name code; that code would leave a marker."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    config = RunConfig(trace="debian.parquet", trace_sha256="s", agent="evil.py:Always", cache="evil.py:LRU")
    (tmp_path / "best.json").write_text(config.model_dump_json())
    (tmp_path / "sweep.toml").write_text(f'trace = ["{DEBIAN}"]\nagents = ["never"]\ncaches = ["lru", "evil.py:LRU"]\n')
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "config.json").write_text(config.model_dump_json())
    (tmp_path / "live" / "summary.json").write_text(json.dumps({"notice": "", "runs": []}))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (["sim.run", "--trace", str(DEBIAN), "--policy", "best.json"], "--policy best.json"),
        (["sim.judge", "--trace", str(DEBIAN), "--policy", "best.json"], "--policy best.json"),
        (["sim.sweep", "--config", "sweep.toml"], "--config sweep.toml"),
        (["replay.live", "--graph", "data/small", "--local", "2", "--policy", "best.json"], "--policy best.json"),
        (["replay.validate", "--grid", "grid.toml"], "--grid grid.toml"),
        (["replay.compare", "live"], "live/config.json"),
    ],
)
def test_a_file_that_names_code_is_refused_in_one_line(folder, run_cli, command, names):
    if command[:2] == ["replay.compare", "live"]:
        (folder / "live" / "trace.parquet").write_bytes(DEBIAN.read_bytes())
    code, _, err = run_cli(*command)
    assert code == 2, err
    assert f"error: {names}: names code that would run here, evil.py:" in err.replace("\n", " ")
    assert err.count("\n") == 1
    assert not (folder / "marker").exists()
    assert not (folder / "results").exists()


def test_lists_of_the_command_line_take_the_place_of_the_files(folder, run_cli):
    code, _, err = run_cli("sim.sweep", "--config", "sweep.toml", "--caches", "lru", "--dry-run")
    assert code == 0, err
    assert run_cli("sim.sweep", "--config", "sweep.toml", "--dry-run", "--trust")[0] == 0
    assert (folder / "marker").exists()


def test_a_table_that_names_code_is_shown_without_it(folder, run_cli):
    assert (
        run_cli("sim.sweep", "--trace", str(DEBIAN), "--agents", "never pipeline", "--caches", "lru", "--quiet")[0] == 0
    )
    path = folder / "results" / "sweep" / "runs.parquet"
    pl.read_parquet(path).with_columns(cache=pl.lit("evil.py:LRU"), cache_sha256=pl.lit("s")).write_parquet(path)
    code, _, err = run_cli("sim.report", "results/sweep", "--html", "page.html")
    assert code == 0, err
    assert "evil.py:LRU" in (folder / "page.html").read_text()
    assert not (folder / "marker").exists()


def test_a_trace_that_names_code_is_read_without_it(folder, run_cli, monkeypatch):
    """As one that was captured under a policy of somebody's own."""
    read = Trace.__init__

    def read_changed(trace, *arguments):
        read(trace, *arguments)
        trace.header = trace.header.model_copy(update={"policy": "evil.py:Always"})

    monkeypatch.setattr(Trace, "__init__", read_changed)
    code, _, err = run_cli("sim.run", "--trace", str(DEBIAN), "--agent", "never")
    assert (code, "captured under policy 'evil.py:Always'" in err) == (2, True)
    assert not (folder / "marker").exists()
