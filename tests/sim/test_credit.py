"""A policy that did nothing wins nothing: it stands beside its own buffer left alone, and says that it did nothing."""

import json
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

sys.path.append(str(Path(__file__).parents[1]))  # for `ollama_server`, a script that tests also import
from ollama_server import OllamaServer

from agents.llm.probe import PROBE
from sim import Twin, sweep
from sim.sweeps.leaderboard import leaderboard

NOTHING = "NO USABLE ANSWER: none of"


class Babbles:
    """A model that answers the question that is put to it before the run, and babbles in the run."""

    def chat(self, messages, schema, options):
        usable = {"reason": "r", "action": "skip", "share_percent": 50, "ranking": "misses", "expected_impact": "e"}
        before = any(PROBE.user in message["content"] for message in messages)
        return json.dumps(usable) if before else "I would replace, probably.", "stop"


@pytest.fixture
def host():
    server = OllamaServer({"m": Babbles()})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.url
    server.shutdown()


@pytest.fixture
def trace(drawn_trace):
    return drawn_trace(minibatches=9)


def lines_of(out):
    """What was printed; nothing but that the graph is synthetic may stand before."""
    first, *lines = out.splitlines()
    assert first.startswith("SYNTHETIC")
    return lines


@pytest.fixture
def scripted(tmp_path):
    """The same without a server, for sweeps."""
    (tmp_path / "babble").write_text("I would replace, probably.\n")
    return f"scripted:{tmp_path / 'babble'}"


@pytest.mark.model_calls
def test_a_model_without_a_usable_answer_says_so_first(trace, host, run_cli, tmp_path):
    options = ["--trace", str(trace), "--agent", "ollama:m", "--ollama-host", host, "--window", "2", "--buffer", "50"]
    options += ["--mode", "sync", "--out", str(tmp_path / "run")]
    code, out, err = run_cli("sim.run", *options)
    assert code == 0, err
    first = lines_of(out)[0]
    assert first.startswith(f"{NOTHING} ")
    assert "of ollama:m could be used" in first
    assert "as under never" in first
    code, out, _ = run_cli("sim.run", *options, "--json")
    document = json.loads(out)
    assert document["usable_answers"] == 0
    assert any(notice.startswith(NOTHING) for notice in document["notices"])
    rows = {row["policy"]: row for row in document["rows"]}
    assert rows["ollama:m"]["usable_answers"] == rows["ollama:m"]["replacements"] == 0
    assert rows["ollama:m"]["answers_invalid"] == rows["ollama:m"]["decisions"] > 0
    assert rows["ollama:m"]["fetched_rows"] == rows["never"]["fetched_rows"]
    code, out, _ = run_cli("sim.report", str(tmp_path / "run"))
    assert lines_of(out)[0].startswith(NOTHING)
    assert "never" in out
    html = tmp_path / "page.html"
    assert run_cli("sim.report", str(tmp_path / "run"), "--html", str(html), "--quiet")[0] == 0
    assert NOTHING in html.read_text()


def test_in_a_sweep_too(trace, scripted, run_cli, tmp_path):
    agents = f"none pipeline never every:4 {scripted}"
    command = [
        "--trace",
        str(trace),
        "--agents",
        agents,
        "--buffers",
        "50",
        "--windows",
        "2",
        "--out",
        str(tmp_path / "s"),
    ]
    assert run_cli("sim.sweeps.command", *command, "--workers", "1", "--quiet")[0] == 0
    code, out, _ = run_cli("sim.report", str(tmp_path / "s"))
    assert code == 0
    assert lines_of(out)[0].startswith(NOTHING)
    html = tmp_path / "page.html"
    assert run_cli("sim.report", str(tmp_path / "s"), "--html", str(html), "--json")[0] == 0
    assert NOTHING in html.read_text()
    code, out, _ = run_cli("sim.report", str(tmp_path / "s"), "--json")
    document = json.loads(out)
    assert any(notice.startswith(NOTHING) for notice in document["notices"])
    rows = {row["agent"]: row for row in document["rows"]}
    assert (rows[scripted]["usable_answers"], rows[scripted]["replacements"]) == (0, 0)
    assert rows["every:4"]["usable_answers"] == rows["every:4"]["decisions"] > rows["every:4"]["replacements"] > 0
    assert rows["every:4"]["vs_never"] is not None
    assert rows["none"]["vs_never"] is None


def test_on_the_screen_a_sweep_has_what_a_policy_did(trace, scripted):
    board = leaderboard(sweep(trace, agents=["never", "every:4", scripted], buffers="50", windows=[2]))
    assert {"vs_never", "usable_answers", "replacements"} <= set(board.columns)


def test_in_python_too(trace, scripted):
    twin = Twin.open(trace)
    idle, busy = (twin.simulate(agent, buffer="50", window=2) for agent in (scripted, "every:4"))
    assert idle.summary["usable_answers"] == 0
    assert idle.summary["fetched_rows"] == idle.never.row["fetched_rows"]
    assert [notice for notice in idle.notices if notice.startswith(NOTHING)]
    synthetic = [twin.header.notice]
    assert busy.notices == twin.simulate("never", buffer="50").notices == twin.simulate("none").notices == synthetic


def test_what_was_never_asked_says_so(trace):
    _, notice = Twin.open(trace).simulate("random:.5", buffer="50", window=100).notices
    assert notice.startswith("NEVER ASKED: random:0.5")


def test_an_answer_that_comes_after_the_run_is_none(trace):
    run = Twin.open(trace).simulate("always", buffer="50", cluster={"agent_latency_s": 1e6})
    assert run.summary["usable_answers"] == 0 < run.summary["decisions"]
    _, notice = run.notices
    assert notice.startswith(NOTHING)


def test_the_judge_has_it(trace, scripted, run_cli, tmp_path):
    command = ["--trace", str(trace), "--agent", scripted, "--buffer", "50", "--window", "2"]
    code, out, err = run_cli("sim.judge", *command, "--out", str(tmp_path / "judged"))
    assert code == 0, err
    assert lines_of(out)[0].startswith(NOTHING)
    assert "vs never" in out
    code, out, _ = run_cli("sim.judge", *command, "--json")
    document = json.loads(out)
    assert any(notice.startswith(NOTHING) for notice in document["notices"])
    assert [row["usable_answers"] for row in document["rows"] if not row["control"]] == [0]
    code, out, _ = run_cli("sim.report", str(tmp_path / "judged"))
    assert lines_of(out)[0].startswith(NOTHING)


def test_a_policy_s_replacements_are_in_its_table(trace, run_cli, tmp_path):
    options = ["--trace", str(trace), "--agent", "every:4", "--buffer", "50", "--out", str(tmp_path / "run")]
    _, out, _ = run_cli("sim.run", *options)
    rows = pl.read_parquet(tmp_path / "run" / "runs.parquet")
    replaced = rows.filter(policy="every:4")["replacements"][0]
    heading, *lines = lines_of(out)
    assert "replaced" in heading
    [line] = [line for line in lines if line.startswith("every:4")]
    assert f" {replaced} " in f"{line} "
