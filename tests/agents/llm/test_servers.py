"""Model servers as they are: decisions come, or one line says before the run why they can't.

Each case is what users report of a server, asked over HTTP. Numbers are those of issues of ollama/ollama,
vllm-project/vllm and ggml-org/llama.cpp.
"""

from __future__ import annotations

import json
import threading

import polars as pl
import pytest
from model_server import GOOD, model_server, ollama, openai

from agents.registry import ModelOptions, resolve

pytestmark = pytest.mark.model_calls

THOUGHTS = "Let me see: the hit rate is low. " * 20
REFUSES_MAX_TOKENS = {
    "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
    "instead.",
    "type": "invalid_request_error",
    "param": "max_tokens",
    "code": "unsupported_parameter",
}
REFUSES_TEMPERATURE = {
    "message": "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is "
    "supported.",
    "param": "temperature",
}


@pytest.fixture
def decide(make_run, make_observation):
    """The decision of `agent` at `host`."""

    def ask(agent, host):
        policy = resolve(agent, ModelOptions(host=host, timeout_s=30.0)).make()
        policy.reset(make_run(), seed=0)
        return policy.decide(make_observation())

    return ask


@pytest.fixture
def trace(write_trace, minibatch):
    """Two trainers with 13 minibatches each, all of them remote."""
    times = {"fetch_s": 0.01, "step_s": 0.05}
    own = [[minibatch([10 * (1 - rank) + node for node in range(10)], times) for _ in range(13)] for rank in (0, 1)]
    return write_trace([[of_rank] for of_rank in own])


@pytest.fixture
def simulate(run_cli, trace, tmp_path):
    """Runs a simulation that asks `agent` at `host`: exit code, the table of decisions if there is one, and stderr."""

    def run(agent, host, *more):
        out = tmp_path / "out"
        code, _, stderr = run_cli(
            "sim.run", "--trace", str(trace), "--agent", agent, "--window", "4", "--buffer", "5", "--init", "empty",
            "--mode", "sync", "--model-host", host, "--timeout-s", "30", "--out", str(out), *more,
        )  # fmt: skip
        decisions = pl.read_parquet(out / "decisions.parquet") if out.exists() else None
        return code, decisions, stderr

    return run


def switches_the_schema_off(body):
    """14645, 14850, 15260: qwen3.5 and gemma4 forget `format` where `think` is false."""
    return ollama(GOOD) if body.get("think") is None else ollama("I would replace some of the rows now.")


def knows_only_levels(body):
    """gpt-oss: thinks in any case, and long unless it is told to think little."""
    return ollama(GOOD, THOUGHTS) if body.get("think") == "low" else ollama("", THOUGHTS, "length")


def thinks_first(body):
    """11678: thinks whatever it is told, up to the limit of tokens where that is low."""
    return ollama(GOOD, THOUGHTS) if body["options"]["num_predict"] > 1000 else ollama("", THOUGHTS, "length")


def refuses_think(body):
    """Servers of models that can't think refuse a level of it."""
    if body.get("think"):
        return 400, {"error": '"m" does not support thinking'}
    return switches_the_schema_off(body)


def fails_on_schemas(body):
    """A runner that can't make a grammar out of the model's vocabulary."""
    if body.get("format"):
        return 500, {"error": "failed to load model vocabulary required for format"}
    return ollama(f"Sure:\n```json\n{GOOD}\n```")


@pytest.mark.parametrize(
    ("reply", "way"),
    [
        (lambda body: ollama(GOOD), "format, thinking off"),
        (switches_the_schema_off, "format, thinking free"),
        (knows_only_levels, "format, thinking low"),
        (thinks_first, "format, thinking low"),
        (refuses_think, "format, thinking free"),
        (fails_on_schemas, "words, thinking off"),
        (lambda body: ollama("", GOOD), "format, thinking off"),
        (lambda body: ollama(None, GOOD), "format, thinking off"),
        (lambda body: ollama(f"<think>{THOUGHTS}</think>\n{GOOD}"), "format, thinking off"),
        (lambda body: ollama(f"```json\n{GOOD}\n```"), "format, thinking off"),
        (lambda body: ollama(GOOD.replace("50", '"50"')), "format, thinking off"),
    ],
)
def test_an_ollama_server_is_asked_in_the_way_that_it_answers(reply, way, decide):
    with model_server(reply) as server:
        decision = decide("ollama:m", server.url)
    assert (decision.outcome, decision.replace, decision.share) == ("valid", True, 0.5)
    assert decision.answered_by == f"ollama: m:latest; {way}"


def refuses(*errors):
    """An OpenAI server of newer models, which refuses what it doesn't know by name."""

    def reply(body):
        for error in errors:
            if error["param"] in body:
                return 400, {"error": error}
        return openai(GOOD)

    return reply


def ignores_response_format(body):
    """24097, 19051: fails open, but knows its own field."""
    return openai(GOOD) if "json_schema" in body else openai("I would replace.")


def thinks_unless_told(body):
    """vLLM with a reasoning parser: thoughts use up the tokens, unless the template is told to leave them out."""
    if body.get("chat_template_kwargs") == {"enable_thinking": False}:
        return openai(GOOD)
    return openai(None, "length", reasoning_content=THOUGHTS)


def knows_no_schema(body):
    """Refuses every schema, and answers in words."""
    for name in ("response_format", "json_schema"):
        if name in body:
            return 400, {"error": {"message": f"{name} is not supported"}}
    return openai(f"Here it is:\n\n```json\n{GOOD}\n```\nGood luck!")


@pytest.mark.parametrize(
    ("reply", "way"),
    [
        (lambda body: openai(GOOD), "response_format"),
        (lambda body: openai(None, reasoning_content=GOOD), "response_format"),  # 16182, 15618
        (lambda body: openai(None, reasoning=GOOD), "response_format"),
        (refuses(REFUSES_MAX_TOKENS), "response_format, without max_tokens"),
        (refuses(REFUSES_TEMPERATURE), "response_format, without temperature"),
        (refuses(REFUSES_MAX_TOKENS, REFUSES_TEMPERATURE), "response_format, without max_tokens, temperature"),
        (lambda body: openai(f"```json\n{GOOD}\n```"), "response_format"),
        (lambda body: openai(f"<think>\n{THOUGHTS}\n</think>\n\n{GOOD}"), "response_format"),
        (lambda body: openai(GOOD.replace("50", '"50"')), "response_format"),
        (ignores_response_format, "grammar"),
        (thinks_unless_told, "response_format, thinking off"),
        (knows_no_schema, "words"),
    ],
)
def test_an_openai_server_is_asked_in_the_way_that_it_answers(reply, way, decide):
    with model_server(reply) as server:
        decision = decide("openai:org/m", server.v1)
    assert (decision.outcome, decision.replace, decision.share) == ("valid", True, 0.5)
    assert decision.answered_by == f"openai: org/m; {way}"
    if "without max_tokens" in way:
        assert server.questions()[-1]["max_completion_tokens"] == 512


@pytest.mark.parametrize(
    ("agent", "reply", "way"),
    [
        ("ollama:hf.co/user/repo:F16", switches_the_schema_off, "ollama: hf.co/user/repo:F16; format, thinking free"),
        ("openai:org/m", refuses(REFUSES_MAX_TOKENS), "openai: org/m; response_format, without max_tokens"),
    ],
)
def test_a_run_says_who_answered_and_how(agent, reply, way, simulate):
    with model_server(reply) as server:
        code, decisions, stderr = simulate(agent, server.url if agent.startswith("ollama") else server.v1)
    assert (code, stderr) == (0, "")
    assert len(decisions) == 6
    assert set(decisions["outcome"]) == {"valid"}
    assert decisions["replace"].all()
    assert set(decisions["answered_by"]) == {way}


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (
            lambda body: ollama("I would replace."),
            "no usable answer in 5 ways of asking: invalid in 5 (unusable answer: I would replace.)",
        ),
        (
            lambda body: ollama("", THOUGHTS, "length"),
            "no usable answer in 5 ways of asking: thinking in 5 (thoughts and no answer, up to the limit of tokens: "
            "Let me see: the hit rate is low. Let me see: the hit rate is low. ",
        ),
        (
            lambda body: ollama(GOOD[:50], done_reason="length"),
            f"no usable answer in 5 ways of asking: truncated in 5 (cut off by the limit of tokens: {GOOD[:50]})",
        ),
        (
            lambda body: (400, {"error": "model requires more system memory"}),
            "refused in 5 (the server says: status 400: model requires more system memory)",
        ),
    ],
)
def test_a_model_that_gives_no_usable_answer_ends_the_run_before_it_begins(reply, line, simulate):
    with model_server(reply) as server:
        code, decisions, stderr = simulate("ollama:m", server.url)
        assert (code, decisions) == (2, None)
        assert stderr.startswith(f"error: the Ollama server at {server.url} can't run 'm' as an agent: ")
    assert line in stderr
    assert stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (lambda body: (400, {"error": {"message": "Your organization must be verified."}}), "must be verified."),
        (lambda body: (401, {"error": {"message": "Incorrect API key provided: sk-hush-1."}}), "provided: ***."),
        (lambda body: openai(None, refusal="I can't help with that."), "refused in 9 (the model refused: I can't"),
        (lambda body: openai("", "content_filter"), "a content filter ended the answer"),
        (lambda body: (503, b"<h1>Busy</h1>"), "failed in 9 (status 503: <h1>Busy</h1>)"),
    ],
)
def test_a_refusal_is_shown_in_the_servers_own_words(reply, line, simulate, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hush-1")
    with model_server(reply) as server:
        code, decisions, stderr = simulate("openai:m", server.v1)
    assert (code, decisions) == (2, None)
    assert line in stderr
    assert stderr.count("\n") == 1
    assert "sk-hush" not in stderr


def test_a_server_that_is_mended_is_asked_again(simulate):
    """Prose in the middle of a run is counted and not kept."""
    asked = []

    def moody(body):
        asked.append(body)
        return ollama(GOOD if len(asked) == 1 else "prose")

    with model_server(moody) as server:
        code, decisions, _ = simulate("ollama:m", server.url)
        assert (code, set(decisions["outcome"])) == (0, {"invalid"})
        server.reply = lambda body: ollama(GOOD)
        code, decisions, _ = simulate("ollama:m", server.url)
        assert (code, set(decisions["outcome"])) == (0, {"valid"})
        asked_before = len(server.asked)
        code, again, _ = simulate("ollama:m", server.url)
        assert again.equals(decisions)
        assert len(server.asked) == asked_before  # all answers were kept


def test_a_model_that_is_too_slow_ends_the_run_before_it_begins(simulate):
    held = threading.Event()

    def slow(body):
        held.wait(0.3)
        return ollama(GOOD)

    with model_server(slow) as server:
        code, decisions, stderr = simulate("ollama:m", server.url, "--timeout-s", "0.1")
    assert (code, decisions) == (2, None)
    assert "longer than 0.1 s: give more with --timeout-s, or take a smaller model" in stderr
    assert len(server.asked) == 2


def test_every_trainer_asks_its_own_server(simulate):
    with model_server(lambda body: ollama(GOOD)) as one, model_server(lambda body: ollama(GOOD)) as two:
        code, decisions, _ = simulate("ollama:m", f"{one.url},{two.url}", "--ask-again")
        assert code == 0
        for rank, server in enumerate((one, two)):
            decided = decisions.filter(pl.col("rank") == rank)
            assert len(server.asked) == 1 + len(decided)  # one finds out how
            prompts = {body["messages"][1]["content"] for body in server.questions()[1:]}
            assert prompts == set(decided["prompt"])
        code, _, stderr = simulate("ollama:m", ",".join([one.url] * 3))
    assert code == 2
    assert "there are 3 addresses of model servers, but 2 trainers to ask them" in stderr


def test_a_password_is_sent_and_neither_shown_nor_kept(simulate, run_cli, trace, tmp_path, monkeypatch):
    def leaks(body):
        return ollama(GOOD) if len(server.asked) < 3 else (500, {"error": "user me with hush-hush is unknown"})

    with model_server(leaks) as server:
        host = f"http://me:hush-hush@127.0.0.1:{server.port}"
        code, decisions, stderr = simulate("ollama:m", host)
        assert code == 0
        assert all(headers["authorization"] == "Basic bWU6aHVzaC1odXNo" for _, headers, _ in server.asked)
        assert "user me with *** is unknown" in decisions["reason"][-1]
        monkeypatch.setenv("OLLAMA_HOST", host)
        server.asked.clear()
        code, stdout, shown = run_cli(
            "sim.judge", "--trace", str(trace), "--agent", "ollama:m", "--window", "6", "--buffer", "5", "--out",
            str(tmp_path / "judged"), "--model-host", host,
        )  # fmt: skip
        assert code == 0
    code, _, gone = run_cli("sim.run", "--trace", str(trace), "--agent", "ollama:m", "--out", str(tmp_path / "gone"))
    assert code == 2
    assert f"no Ollama server answers at http://127.0.0.1:{server.port} (ConnectionError)" in gone
    for text in (stderr, stdout, shown, gone):
        assert "hush" not in text
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".json" and "answers" in path.parts for path in kept)
    for path in kept:
        assert b"hush-hush" not in path.read_bytes(), path
        assert b"bWU6aHVzaC1odXNo" not in path.read_bytes(), path
    report = pl.read_parquet(tmp_path / "judged" / "report.parquet")
    assert f"--model-host 'http://***@127.0.0.1:{server.port}'" in report["command"][0]


@pytest.mark.parametrize(
    ("agent", "host", "reply"),
    [("ollama:m", "url", lambda body: ollama("prose")), ("openai:m", "v1", lambda body: openai("prose"))],
)
def test_the_check_fails_for_a_model_that_says_nothing_usable(agent, host, reply, run_cli):
    with model_server(reply) as server:
        code, stdout, stderr = run_cli("agents.check", agent, "--model-host", getattr(server, host))
    assert (code, stdout) == (2, "")
    assert "no usable answer in" in stderr
    code, stdout, stderr = run_cli("agents.check", agent, "--model-host", getattr(server, host))
    assert (code, stdout) == (2, "")
    assert "server answers at" in stderr


def test_the_check_fails_for_a_model_that_stops_and_for_a_server_that_goes(run_cli):
    def stops(after, then):
        return lambda body: ollama(GOOD) if len(server.asked) <= after else then

    for after, then, line in (
        (1, ollama("prose"), "broken: 'ollama:m': none of 27 answers is usable: 27 invalid (unusable answer: prose)\n"),
        (40, (500, {"error": "gone"}), "broken: 'ollama:m': the server fails: "),
    ):
        with model_server(stops(after, then)) as server:
            code, stdout, stderr = run_cli("agents.check", "ollama:m", "--model-host", server.url)
        assert (code, stdout) == (1, "")
        assert stderr.startswith(line)


def test_the_check_passes_a_model_that_answers_and_asks_it_anew(run_cli):
    with model_server(lambda body: ollama(GOOD)) as server:
        for _ in range(2):
            asked = len(server.asked)
            code, stdout, _ = run_cli("agents.check", "ollama:m", "--model-host", server.url, "--json")
            assert (code, json.loads(stdout)["policy"]) == (0, "ollama:m")
            assert len(server.asked) - asked >= 54
