"""Language models in live runs: whatever they do, training goes on, and every row is accounted for."""

import contextlib
import itertools
import json
import multiprocessing
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from agents.llm.probe import PROBE
from agents.registry import ModelOptions
from replay.comparison import compare

sys.path.append(str(Path(__file__).parents[1]))  # for `ollama_server`

ANSWER = json.dumps(
    {"reason": "r", "action": "replace", "share_percent": 100, "ranking": "misses", "expected_impact": "i"}
)
ANSWERED = 8


class Moody:
    """Answers, well or nonsense, so many times, and then not before it is `released`; `hung` tells of it."""

    def __init__(self, answered: int) -> None:
        self.answered, self.hung, self.released = answered, threading.Event(), threading.Event()
        self._calls = itertools.count()

    def chat(self, messages, schema, options) -> tuple[str, str]:
        if messages[-1]["content"] == PROBE.user:
            return ANSWER, "stop"
        call = next(self._calls)
        if call >= self.answered:
            self.hung.set()
            self.released.wait()
        return ANSWER if call % 4 else "whatever", "stop"


@pytest.fixture
def moody():
    """Starts a server of such a model, which hangs until the test is over; gives the model and the server's address."""
    from ollama_server import OllamaServer

    with contextlib.ExitStack() as started:

        def start(answered: int) -> tuple[Moody, str]:
            model = Moody(answered)
            server = started.enter_context(OllamaServer({"moody": model}))
            started.callback(server.shutdown)
            started.callback(model.released.set)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return model, server.url

        yield start


@pytest.mark.model_calls
def test_a_model_that_talks_nonsense_and_dies_stops_nothing(moody, live_run, tmp_path: Path) -> None:
    """The model's server is on the host, which the trainers' own networks can't reach."""
    folder = tmp_path / "moody"
    model, url = moody(ANSWERED)

    def kill_agents() -> None:
        model.hung.wait()
        for process in multiprocessing.active_children():
            process.kill()

    threading.Thread(target=kill_agents, daemon=True).start()
    asked = ModelOptions(host=url, keep_answers=False)
    finished = live_run(
        folder, "ollama:moody", model=asked, buffer="20%", init="empty", check=True, capture={"epochs": 10}
    )
    assert finished.header.complete
    assert finished.summary["decisions"] > ANSWERED
    for outcome in ("valid", "invalid", "failed"):
        assert finished.summary[f"answers_{outcome}"] > 0, outcome
    applied = finished.tables["decisions"].filter(pl.col("outcome") == "valid")
    assert (applied["applied_minibatch"] > applied["asked_minibatch"]).all()
    comparison = compare(folder)
    assert not comparison.decided_again
    assert comparison.differences == []
    assert comparison.live_hits > 0  # the buffer was empty until a decision filled it


@pytest.mark.model_calls
def test_a_model_that_hangs_is_waited_for_no_longer_than_its_time_out(moody, live_run, tmp_path: Path) -> None:
    """In mode `sync`, in which training waits: here for ever, without the time-out."""
    _, url = moody(0)
    asked = ModelOptions(host=url, keep_answers=False, timeout_s=3.0)
    finished = live_run(
        tmp_path / "hung", "ollama:moody", model=asked, mode="sync", capture={"epochs": 1, "batch_size": 300}
    )
    assert finished.header.complete
    decisions = finished.tables["decisions"]
    assert decisions.height == 2 * 3
    assert set(decisions["outcome"]) == {"late"}
    assert decisions["latency_s"].min() >= 3.0


@pytest.mark.model_calls
def test_a_model_that_cannot_be_asked_is_said_before_anything_starts(live_run, tmp_path: Path) -> None:
    from traces.errors import InputError

    with pytest.raises(InputError, match="no Ollama server answers"):
        live_run(tmp_path / "run", "ollama:llama3", model=ModelOptions(host="http://127.0.0.1:1"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model_calls
def test_a_model_decides_in_a_script(
    moody, recorded_job, homogeneous, scripts, job_arguments, run_cli, tmp_path: Path
) -> None:
    """In trainers that have a network of their own, and know nothing of the model's server."""
    folder, (_, url) = tmp_path / "live", moody(10**9)
    code, _, err = run_cli(
        "replay.live", "--agent", "ollama:moody", "--model-host", url, "--buffer", "20%", "--init", "empty",
        "--trace", str(recorded_job), "--part-config", str(homogeneous), "--local", "2", "--check",
        "--out", str(folder), "--", str(scripts / "node_classification.py"), *job_arguments,
    )  # fmt: skip
    assert code == 0, err
    [summary] = json.loads((folder / "summary.json").read_text())["runs"]
    assert summary["answers_valid"] > 0
    assert summary["answers_failed"] == 0
    comparison = compare(folder)
    assert comparison.differences == []
    assert comparison.live_hits > 0  # the buffer was empty until a decision filled it


@pytest.mark.model_calls
def test_a_model_that_cannot_be_asked_is_said_before_a_script_starts(
    recorded_job, homogeneous, scripts, run_cli, tmp_path: Path
) -> None:
    code, _, err = run_cli(
        "replay.live", "--agent", "ollama:llama3", "--model-host", "http://127.0.0.1:1", "--trace", str(recorded_job),
        "--part-config", str(homogeneous), "--local", "2", "--out", str(tmp_path / "run"),
        "--", str(scripts / "node_classification.py"),
    )  # fmt: skip
    assert code == 2
    assert "no Ollama server answers" in err
    assert list(tmp_path.iterdir()) == []
