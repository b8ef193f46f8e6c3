"""`python -m sim.run` from outside: what it prints, writes and refuses."""

import hashlib
import json
import shutil
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from sim.reports import run_figure
from traces.schema import HEADER_KEY

TRACES = Path(__file__).parents[2] / "traces"


@pytest.fixture
def trace(write_trace, minibatch):
    """Two trainers, two epochs of eight minibatches, ids drawn at random under a seed."""
    rng = np.random.default_rng(0)

    def epochs(low):
        def one():
            ids = np.unique(low + (rng.pareto(1.0, 12) * 5).astype(int).clip(0, 99))
            return minibatch(ids.tolist(), {"sample_s": 0.01, "forward_s": 0.01, "fetch_s": 0.004, "step_s": 0.03})

        return [[one() for _ in range(8)] for _ in range(2)]

    return write_trace([epochs(100), epochs(0)], nodes_per_partition=100)


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def test_a_run_writes_tidy_tables_and_says_synthetic_first(trace, tmp_path, run_cli):
    out = tmp_path / "out"
    code, printed, err = run_cli("sim.run", "--trace", str(trace), "--agent", "every:2", "--out", str(out))
    assert code == 0, err
    assert printed.startswith("SYNTHETIC graph: made by hand for a test")
    names = ["config.json", "cost.json", "decisions.parquet", "epochs.parquet", "figure.png"]
    assert sorted(file.name for file in out.iterdir()) == [
        *names,
        "minibatches.parquet",
        "runs.parquet",
        "summary.json",
    ]
    runs = pl.read_parquet(out / "runs.parquet")
    assert runs["policy"].to_list() == ["none", "pipeline", "never", "every:2", "MIN"]
    assert runs["run"].n_unique() == 1
    fetched = dict(zip(runs["policy"], runs["fetched_rows"], strict=True))
    assert fetched["MIN"] <= fetched["every:2"]
    for row in runs.to_dicts():  # one way of counting, MIN's too
        assert row["fetched_rows"] == row["remote_rows"] - row["hit_rows"] + row["replacement_rows"] + row["fill_rows"]
    assert runs["hit_rows"].max() == runs.filter(policy="MIN")["hit_rows"][0]
    assert fetched["none"] == fetched["pipeline"] == runs["remote_rows"][0]
    minibatches = pl.read_parquet(out / "minibatches.parquet")
    assert minibatches.group_by("policy").len()["len"].to_list() == [32] * 4
    every = minibatches.filter(policy="every:2")
    assert (every["hit_rows"] <= every["halo_rows"]).all()
    assert int(every["fetched_rows"].sum()) + runs.filter(policy="every:2")["fill_rows"][0] == fetched["every:2"]
    decisions = pl.read_parquet(out / "decisions.parquet")
    assert decisions.filter(pl.col("rank") == 0)["asked_minibatch"].to_list() == list(range(15))
    assert decisions.filter("replace")["applied_minibatch"].unique().sort().to_list() == [2, 4, 6, 8, 10, 12, 14]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "summary.json").read_text())["notice"].startswith("SYNTHETIC")


def test_a_cache_that_asks_no_policy_gives_its_name(trace, tmp_path, run_cli):
    code, printed, err = run_cli("sim.run", "--trace", str(trace), "--cache", "lru", "--out", str(tmp_path / "out"))
    assert code == 0, err
    table = printed[printed.index("policy") :].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["none", "pipeline", "lru", "MIN"]
    assert "(halo, init degree)" in printed
    code, printed, err = run_cli("sim.run", "--trace", str(trace), "--cache", "degree", "--out", str(tmp_path / "out"))
    assert "(halo)" in printed  # it chooses by itself what it holds
    assert f"the picture is {tmp_path / 'out' / 'figure.png'}" in " ".join(printed.split("\n"))


def test_the_published_rule_whole(trace, tmp_path, run_cli):
    """Its start, its gate and its buffer, all by name."""
    options = ["--agent", "massivegnn:4", "--cache", "score-public:alpha=.005,period=4", "--init", "degree-global"]
    code, _, err = run_cli("sim.run", "--trace", str(trace), *options, "--out", str(tmp_path / "out"))
    assert code == 0, err
    decisions = pl.read_parquet(tmp_path / "out" / "decisions.parquet")
    assert decisions.filter("replace")["applied_minibatch"].unique().sort().to_list() == [3, 7, 11, 15]


def test_the_same_run_twice_is_byte_identical(trace, tmp_path, run_cli):
    for out in ("one", "two"):
        options = ["--agent", "random:.5", "--init", "random", "--seed", "3", "--out", str(tmp_path / out)]
        assert run_cli("sim.run", "--trace", str(trace), *options)[0] == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    options[5] = "4"
    assert run_cli("sim.run", "--trace", str(trace), *options)[0] == 0
    assert digests(tmp_path / "one")["decisions.parquet"] != digests(tmp_path / "two")["decisions.parquet"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--agent", "evry:2"], "no policy 'evry'"),
        (["--agent", "every:0"], "every:0"),
        (["--agent", "every:3", "--window", "2"], "window"),
        (["--cache", "lruu"], "no cache 'lruu'"),
        (["--cache", "score:alpha=2"], "alpha"),
        (["--cache", "lru", "--agent", "always"], "replaces on its own"),
        (["--agent", "none", "--buffer", "25%"], "buffer would mean nothing"),
        (["--buffer", "0"], "holds 0 rows"),
        (["--buffer", "-5%"], "holds 0 rows"),
        (["--buffer", "nan"], "not a size"),
        (["--buffer", "5000"], "only 100 nodes are cacheable"),
        (["--init", "full"], "--init"),
        (
            ["--agent", "massivegnn:16", "--cache", "score-public"],
            "say so, with --cache score-public:period=16",
        ),
        (["--agent", "rudder-every:16", "--window", "2"], "use a window of 1"),
        (["--universe", "all"], "--universe"),
        (["--window", "0"], "--window"),
        (["--seed", "-1"], "--seed"),
        (["--link", "fast"], "link rate 'fast'"),
        (["--link", "0mbit"], "0mbit"),
        (["--colour", "blue"], "--colour"),
    ],
)
def test_options_that_cannot_be(trace, tmp_path, run_cli, options, message):
    code, _, err = run_cli("sim.run", "--trace", str(trace), *options, "--out", str(tmp_path / "out"))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == [trace.name]


def rewritten(trace, drop=(), old="", new=""):
    """The trace without a column, or with a part of its header changed."""
    file = pq.ParquetFile(trace)
    tables = [file.read_row_group(number).drop_columns(list(drop)) for number in range(file.num_row_groups)]
    header = file.metadata.metadata[HEADER_KEY].decode()
    assert old in header
    with pq.ParquetWriter(trace, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({HEADER_KEY: header.replace(old, new)})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda trace: trace.write_text("hello"), "not a parquet file, or cut short"),
        (lambda trace: trace.write_bytes(b""), "not a parquet file, or cut short"),
        (lambda trace: trace.write_bytes(trace.read_bytes()[:-50]), "not a parquet file, or cut short"),
        (lambda trace: pl.DataFrame({"a": [1]}).write_parquet(trace), "not a trace"),
        (lambda trace: trace.unlink(), "no such file"),
        (lambda trace: rewritten(trace, drop=["fetch_s"]), "column fetch_s is missing"),
        (lambda trace: rewritten(trace, old='"format_version":', new='"format_version":9'), "format version 9"),
        (lambda trace: rewritten(trace, old='"epochs":2', new='"epochs":0'), "an empty trace"),
        (lambda trace: rewritten(trace, old='"policy":"none"', new='"policy":"score"'), "fitted on none or pipeline"),
    ],
)
def test_files_that_cannot_be(trace, tmp_path, run_cli, spoil, message):
    spoil(trace)
    code, _, err = run_cli("sim.run", "--trace", str(trace), "--agent", "always", "--out", str(tmp_path / "out"))
    assert code == 2
    assert err.startswith("error: ")
    assert trace.name in err
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_server_is_one_clear_error(trace, tmp_path, run_cli, monkeypatch):
    monkeypatch.delenv("RUDDER_TWIN_MODEL_CALLS", raising=False)
    host = ["--ollama-host", "http://127.0.0.1:9"]  # nobody listens on the discard port
    out = tmp_path / "out"
    code, _, err = run_cli("sim.run", "--trace", str(trace), "--agent", "ollama:llama3", *host, "--out", str(out))
    assert code == 2
    assert "ollama serve" in err
    assert "every:16" in err or "every:N" in err
    assert not out.exists()


def test_a_run_that_ends_before_it_draws_is_no_fault_of_the_drawing_process():
    here, there = Pipe()
    here.close()
    run_figure._draw(there)  # raises nothing, and so prints nothing


def test_a_run_that_was_written_under_former_names_is_shown_under_todays(trace, run_cli, tmp_path):
    out, html = tmp_path / "out", tmp_path / "page.html"
    assert run_cli("sim.run", "--trace", str(trace), "--agent", "trickle:.1", "--out", str(out))[0] == 0
    assert json.loads((out / "config.json").read_text())["agent"] == "partial:0.1"
    for name in ("config.json", "summary.json"):
        (out / name).write_text((out / name).read_text().replace('"partial:', '"trickle:'))
    minibatches = pl.read_parquet(out / "minibatches.parquet").with_columns(
        pl.col("policy").str.replace("partial", "trickle")
    )
    minibatches.write_parquet(out / "minibatches.parquet")
    assert run_cli("sim.report", str(out), "--html", str(html))[0] == 0
    assert "partial:0.1" in html.read_text()
    assert "trickle" not in html.read_text()


def test_the_listing_names_policies_caches_and_their_sources(run_cli):
    code, out, _ = run_cli("sim.run", "--list")
    assert code == 0
    for word in ("every:N", "ollama:MODEL", "score", "lru", "MassiveGNN", "(formerly"):
        assert word in out


@pytest.mark.parametrize("name", ["debian", "papers100m"])
def test_shipped_traces_run(name, tmp_path, run_cli):
    shutil.copy(TRACES / f"{name}.parquet", tmp_path)
    trace, out = tmp_path / f"{name}.parquet", tmp_path / "out"
    code, printed, _ = run_cli("sim.run", "--trace", str(trace), "--agent", "every:16", "--out", str(out))
    assert code == 0
    assert printed.startswith("SYNTHETIC") == (name == "papers100m")
    runs = {row["policy"]: row for row in pl.read_parquet(out / "runs.parquet").to_dicts()}
    assert runs["every:16"]["epoch_s_mean"] < min(runs[other]["epoch_s_mean"] for other in ("pipeline", "none"))
    assert runs["MIN"]["fetched_rows"] < runs["every:16"]["fetched_rows"] < runs["none"]["fetched_rows"]
    check = json.loads((out / "summary.json").read_text())
    assert abs(check["epoch_error_share"]) < 0.08  # docs/validation/time.md: the model must be this close to any run
