"""Language models in live runs: whatever they do, training goes on, and every row is accounted for."""

import itertools
import json
import multiprocessing
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from agents.registry import ModelOptions
from replay.comparison import compare
from replay.launch import trace_file
from traces.capture.launch import fragments_of

sys.path.append(str(Path(__file__).parents[1]))  # for `ollama_server`

ANSWER = json.dumps(
    {"reason": "r", "action": "replace", "share_percent": 100, "ranking": "misses", "expected_impact": "i"}
)
SLEEPS_S = 5.0


class Moody:
    """Answers well, then nonsense, then not for a long time."""

    def __init__(self) -> None:
        self._calls = itertools.count()

    def chat(self, messages, schema, options) -> tuple[str, str]:
        call = next(self._calls)
        if call < 12:
            return ANSWER if call % 4 else "whatever", "stop"
        time.sleep(SLEEPS_S)
        return ANSWER, "stop"


@pytest.fixture(scope="module")
def server():
    from ollama_server import OllamaServer

    with OllamaServer({"moody": Moody()}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.model_calls
def test_a_model_that_talks_nonsense_hangs_and_dies_stops_nothing(server, live_run, tmp_path: Path) -> None:
    """The model's server is on the host, which the trainers' own networks can't reach."""
    folder = tmp_path / "moody"

    def kill_agents() -> None:
        first = fragments_of(trace_file(folder)) / "rank0-epoch0.parquet"
        while not first.exists():
            time.sleep(0.02)
        for process in multiprocessing.active_children():
            process.kill()

    killer = threading.Thread(target=kill_agents)
    killer.start()
    model = ModelOptions(host=server.url, timeout_s=0.2, keep_answers=False)
    finished = live_run(
        folder, "ollama:moody", model=model, buffer="20%", init="empty", check=True, capture={"epochs": 3}
    )
    killer.join()
    assert finished.header.complete
    assert finished.summary["decisions"] > 6
    for outcome in ("valid", "invalid", "late", "failed"):
        assert finished.summary[f"answers_{outcome}"] > 0, outcome
    assert finished.tables["minibatches"]["step_s"].max() < SLEEPS_S / 2
    decisions = finished.tables["decisions"]
    applied = decisions.filter(pl.col("outcome") == "valid")
    assert (applied["applied_minibatch"] > applied["asked_minibatch"]).all()
    assert (decisions.filter(pl.col("outcome") == "late")["latency_s"] < 1.5).all()
    comparison = compare(folder)
    assert not comparison.decided_again
    assert comparison.differences == []
    assert comparison.live_hits > 0  # the buffer was empty until a decision filled it


@pytest.mark.model_calls
def test_a_model_that_cannot_be_asked_is_said_before_anything_starts(live_run, tmp_path: Path) -> None:
    from traces.errors import InputError

    with pytest.raises(InputError, match="no Ollama server answers"):
        live_run(tmp_path / "run", "ollama:llama3", model=ModelOptions(host="http://127.0.0.1:1"))
    assert list(tmp_path.iterdir()) == []
