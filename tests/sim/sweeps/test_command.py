"""Sweeps: what a grid means, and results that survive being killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest

from sim.config import ADDED, RunConfig
from sim.runs.twin import Twin
from sim.sweeps.batches import batches
from sim.sweeps.grid import Grid, expand, read_grid
from sim.sweeps.pool import run_local
from sim.sweeps.store import Store
from traces.errors import InputError


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace(epochs=3)


@pytest.fixture
def arguments(trace):
    """A grid of 41 distinct runs, one of which fails: 200 rows are more than the halo has."""
    return (
        "--trace", str(trace), "--agents", "none pipeline never every:4 random:.3", "--caches", "score lru sieve",
        "--buffers", "10% 50 200", "--universes", "halo", "--links", "captured 1mbit 10mbit",
    )  # fmt: skip


def sweep(out, *arguments):
    command = [sys.executable, "-m", "sim.sweep", *arguments, "--out", str(out), "--quiet"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def test_what_was_served_is_shared_only_by_runs_whose_policy_answers_as_fast(trace):
    twin = Twin.open(trace, {"halo"})
    at_once = twin.config("every:4", buffer="50")
    late = twin.config("every:4", buffer="50", cluster={"agent_latency_s": 0.05})
    decisions = [twin.simulate(one, ahead=True).row["decisions"] for one in (at_once, late, at_once)]
    assert decisions[0] == decisions[2] > decisions[1] > 0


def test_combinations_that_mean_the_same_are_counted_once(trace):
    grid = Grid(
        trace=[str(trace)], agents=["none", "pipeline", "never", "always"], caches=["score", "lru"],
        buffers=["10%", "50%"], windows=[1, 2], modes=["async", "sync"], seeds=[0, 1],
    )  # fmt: skip
    plan = expand(grid)
    runs = [(c.agent, c.cache, c.buffer, c.window, c.mode, c.seed) for c in plan.configs.values()]
    assert plan.combinations == 4 * 2 * 2 * 2 * 2 * 2
    # none and pipeline once; lru with never only, whatever the window and mode; score in all combinations
    assert len(runs) == 2 + 2 * 2 + 2 * 2 * 2 * 2 * 2
    assert plan.collapsed == {"policies without a buffer": 62, "caches that ask no policy": 28}
    assert {run[0] for run in runs if run[1] == "lru"} == {"never"}
    assert list(plan.configs) == [config.id for config in plan.configs.values()]


def test_runs_that_share_what_their_cache_fetches_go_to_one_worker(trace):
    grid = Grid(trace=[str(trace)], agents=["never"], caches=["lru", "fifo"], links=["captured", "1mbit", "1gbit"])
    assert [[one.cache for one in batch] for batch in batches(list(expand(grid).configs.values()))] == [
        ["lru"] * 3,
        ["fifo"] * 3,
    ]


def test_a_file_gives_lists_and_the_command_line_takes_their_place(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('trace = ["a.parquet"]\nbuffers = ["5%"]\nwindows = [1, 2]\n')
    grid = read_grid(path, {"buffers": ["1%", "2%"], "links": []})
    assert (grid.trace, grid.buffers, grid.windows, grid.links) == (["a.parquet"], ["1%", "2%"], [1, 2], ("captured",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trace = [", "no TOML file"),
        ('trace = ["a"]\nbuffer = ["5%"]', "there is no 'buffer'; there are trace, agents"),
        ('trace = "a"', "trace must be a list"),
        ('trace = ["a"]\nlinks = []', "links is an empty list"),
        ("", "--trace is missing"),
    ],
)
def test_files_that_are_no_sweep(tmp_path, text, message):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_grid(path, {})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--agents", "nobody", "there is no policy 'nobody'"),
        ("--caches", "nothing", "there is no cache 'nothing'"),
        ("--universes", "world", "--universes world"),
        ("--windows", "0", "--windows 0"),
        ("--links", "fast", "link rate 'fast'"),
        ("--trace", "nowhere.parquet", "no such file"),
        ("--ray", "local", "--workers is for this machine"),
    ],
)
def test_input_that_cannot_be(run_cli, trace, tmp_path, option, value, message):
    arguments = ["--trace", str(trace), option, value, "--workers", "1", "--out", str(tmp_path / "out")]
    code, _, error = run_cli("sim.sweeps.command", *arguments)
    assert code == 2
    assert message in error
    assert not (tmp_path / "out" / "runs.parquet").exists()


def test_a_sweep_gives_what_single_runs_give(run_cli, trace, arguments, tmp_path):
    code, _, _ = run_cli("sim.sweeps.command", *arguments, "--out", str(tmp_path / "sweep"), "--quiet")
    table = Store(tmp_path / "sweep").read()
    assert code == 1  # some failed
    assert table.height == table["run"].n_unique() == 2 * 3 + 3 * 3 * 3 + 2 * 3 * 3
    failed = table.filter(pl.col("error").is_not_null())
    assert failed["buffer"].unique().to_list() == ["200"]
    assert failed["error"].str.contains("only 150 nodes are cacheable").all()
    options = ["--trace", str(trace), "--link", "1mbit", "--buffer", "10%", "--out", str(tmp_path / "one")]
    assert run_cli("sim.run", *options, "--agent", "every:4")[0] == 0
    one = pl.read_parquet(tmp_path / "one" / "runs.parquet")
    found = table.filter(agent="every:4", buffer="10%", link_bytes_per_s=125e3).row(0, named=True)
    baseline = table.filter(agent="none", link_bytes_per_s=125e3).row(0, named=True)
    for policy, row in (("every:4", found), ("none", baseline)):
        expected = one.filter(policy=policy).row(0, named=True)
        assert {name: row[name] for name in expected if name in row and name not in ("run", "agent")} == {
            name: value for name, value in expected.items() if name in row and name not in ("run", "agent")
        } | ({} if policy == "every:4" else {"buffer": "25%"})
    assert found["run"] == one["run"][0]
    assert found["min_fetched_rows"] == one.filter(policy="MIN")["fetched_rows"][0]


def test_what_was_simulated_under_former_names_is_found_and_shown_under_new_ones(run_cli, trace, tmp_path):
    def count(agents, caches):
        options = ("--agents", agents, "--caches", caches, "--buffers", "10%", "--out", str(tmp_path / "out"))
        code, out, _ = run_cli("sim.sweep", "--trace", str(trace), *options, "--dry-run", "--json")
        assert code == 0
        return json.loads(out)

    new = ("--agents", "none never partial:.1", "--caches", "score static-opt")
    assert sweep(tmp_path / "out", "--trace", str(trace), *new, "--buffers", "10%").wait() == 0
    file = tmp_path / "out" / "runs.parquet"
    written = pl.read_parquet(file)
    as_before = written.with_columns(
        pl.col("agent").str.replace("partial", "trickle"), pl.col("cache").str.replace("static-opt", "hindsight")
    )
    assert not as_before.equals(written)
    as_before.write_parquet(file)
    for names in (("none never trickle:.1", "score hindsight"), ("none never partial:.1", "score static-opt")):
        assert (found := count(*names))["done"] == found["runs"] == written.height == 4
    assert count("trickle:.1 partial:.1", "score")["runs"] == 1
    assert Store(tmp_path / "out").read().equals(written)


def test_killed_at_any_moment_it_loses_no_row_and_ends_as_if_it_had_not_been(arguments, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert sweep(whole, *arguments).wait() == 1
    rng = np.random.default_rng(0)
    before: set[str] = set()
    for _ in range(5):
        process = sweep(killed, *arguments, "--workers", "2")
        wanted = len(before) + int(rng.integers(1, 8))
        while process.poll() is None and len(rows(killed)) < wanted:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.02)
        children = psutil.Process(process.pid).children() if process.poll() is None else []
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=600)
        assert not alive
        now = rows(killed)
        assert before <= now
        before = now
    assert before
    assert sweep(killed, *arguments).wait() == 1
    assert (killed / "runs.parquet").read_bytes() == (whole / "runs.parquet").read_bytes()
    assert not list((killed / "parts").iterdir())


def rows(folder: Path) -> set[str]:
    """The runs that are safe; a part that a compaction has just removed is looked for again."""
    while True:
        try:
            table = Store(folder).read()
        except InputError:
            continue
        return set(table["run"]) if table.width else set()


def test_ctrl_c_keeps_what_is_done(arguments, tmp_path):
    process = sweep(tmp_path, *arguments, "--seeds", " ".join(map(str, range(100))), "--workers", "1")
    while not rows(tmp_path):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert (tmp_path / "runs.parquet").is_file()


def test_rows_that_are_older_than_a_field_have_its_default(tmp_path):
    row = {"run": "new"} | RunConfig(trace="t", trace_sha256="", agent="never", engine="simpy").model_dump()
    with Store(tmp_path).writing() as store:
        store.append([row])
        store.append([{name: value for name, value in row.items() if name not in ADDED} | {"run": "old"}])
    assert dict(Store(tmp_path).read().select("run", "engine").rows()) == {"new": "simpy", "old": "compiled"}


def test_two_sweeps_do_not_write_into_one_folder(run_cli, arguments, tmp_path):
    with Store(tmp_path).writing():
        code, _, error = run_cli("sim.sweeps.command", *arguments, "--out", str(tmp_path))
    assert code == 2
    assert "another sweep is writing here" in error


def test_scenarios_change_times_and_no_counts(trace, tmp_path):
    scenario = tmp_path / "congested.toml"
    scenario.write_text("[[congestion]]\nstart_s = 0.0\nend_s = 1000.0\nfactor = 0.1\n")
    plan = expand(
        Grid(trace=[str(trace)], agents=["every:4"], links=["1mbit"], scenarios=["none", str(scenario)], buffers=["50"])
    )
    (sha256,) = plan.files
    rows = [
        row
        for rows in run_local(batches(list(plan.configs.values())), lambda: {sha256: Twin.open(trace, {"halo"})}, 1)
        for row in rows
    ]
    usual, congested = sorted(rows, key=lambda row: len(row["scenario"]))
    assert usual["error"] is None
    assert congested["error"] is None
    assert congested["fetched_rows"] == usual["fetched_rows"]
    assert congested["epoch_s_mean"] > 5 * usual["epoch_s_mean"]


def test_a_scenario_that_is_none(trace, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        expand(Grid(trace=[str(trace)], scenarios=[str(tmp_path / "nowhere.toml")]))
