"""`ollama:MODEL` through the official client: a real model behind Ollama's API, and servers that misbehave.

The small model shows that the road works; nothing here depends on what it decides. How models answer that switch off
the schema, think or refuse: test_llm_servers.py.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest
from model_server import GOOD, model_server, ollama

from agents.check import check_policy
from agents.llm.provider import MODEL_CALLS
from agents.registry import POLICIES, ModelOptions, resolve
from traces.errors import InputError

pytestmark = pytest.mark.model_calls


def good(body):
    return ollama(GOOD)


def ready(server, run, timeout_s=60.0, model="m"):
    policy = resolve(f"ollama:{model}", ModelOptions(host=server.url, timeout_s=timeout_s, keep_answers=False)).make()
    policy.reset(run, seed=0)
    return policy


def test_a_real_model_answers_in_the_schema(smollm_url, make_run, make_observation):
    policy = resolve("ollama:smollm2", ModelOptions(host=smollm_url, timeout_s=300.0)).make()
    policy.reset(make_run(), seed=0)
    decision = policy.decide(make_observation())
    assert decision.outcome == "valid"
    assert decision.latency_s > 0.0
    assert decision.answered_by == "ollama 0.0.0-test: smollm2:latest; format, thinking off"


def test_the_host_comes_from_the_environment(smollm_url, make_run, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", smollm_url)
    resolve("ollama:smollm2:latest").make().reset(make_run(), seed=0)


def test_the_question_goes_out_as_set(make_run, make_observation):
    with model_server(good) as server:
        decision = ready(server, make_run()).decide(make_observation())
    assert (decision.replace, decision.share, decision.ranking, decision.outcome) == (True, 0.5, "misses", "valid")
    probed, asked = server.questions()  # loading asked nothing
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert "action" in asked["format"]["properties"]
    assert (asked["think"], asked["stream"]) == (False, False)
    assert asked["options"] == {"temperature": 0.0, "seed": 0, "num_ctx": 4096, "num_predict": 512}
    assert {name: probed[name] for name in ("think", "options", "format")} == {
        name: asked[name] for name in ("think", "options", "format")
    }


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (ollama("garbage"), "invalid", "unusable answer: garbage"),
        (ollama(GOOD[: len(GOOD) // 2]), "invalid", "unusable answer"),
        (ollama(GOOD[: len(GOOD) // 2], done_reason="length"), "truncated", "cut off by the limit of tokens: {"),
        (ollama("", thinking="Hm, so"), "thinking", "thoughts and no answer: Hm, so"),
        (ollama('{"decision": "replace"}'), "invalid", "unusable answer"),
        ((500, {"error": "out of memory"}), "failed", "ServerError: status 500: out of memory"),
        ((400, {"error": "no room"}), "refused", "the server says: status 400: no room"),
        ((200, b"<html>"), "failed", ""),
        ((200, b'{"message": {"role"'), "failed", ""),
        ((200, b"[]"), "failed", ""),
        ((200, b"null"), "failed", ""),
        ((200, b"{}"), "failed", ""),
        ((200, b"\xff"), "failed", ""),
    ],
)
def test_a_useless_answer_is_counted_and_the_next_one_asked_for(answer, outcome, reason, make_run, make_observation):
    with model_server(good) as server:
        policy = ready(server, make_run())
        server.reply = lambda body: answer
        decision = policy.decide(make_observation())
        server.reply = good
        assert policy.decide(make_observation()).outcome == "valid"
    assert (decision.outcome, decision.replace) == (outcome, False)
    assert reason in decision.reason


def test_a_server_that_hangs_is_late(make_run, make_observation):
    release = threading.Event()
    with model_server(good) as server:
        policy = ready(server, make_run(), timeout_s=3.0)
        server.reply = lambda body: release.wait() and good(body)
        decision = policy.decide(make_observation())
        release.set()
    assert (decision.outcome, decision.replace) == ("late", False)
    assert decision.latency_s >= 3.0


def test_a_server_that_dies_during_the_run_fails_every_answer(make_run, make_observation):
    with model_server(good) as server:
        policy = ready(server, make_run())
    assert [policy.decide(make_observation()).outcome for _ in range(3)] == ["failed"] * 3


def test_no_server_says_how_to_start_one(make_run):
    with socket.socket() as taken:  # bound but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError) as error:
            resolve("ollama:m", ModelOptions(host=host)).make().reset(make_run(), seed=0)
    assert str(error.value) == (
        f"no Ollama server answers at {host} (ConnectionError): start one with `ollama serve`, or name its host with "
        "--ollama-host or OLLAMA_HOST; policies that need no model: "
        + ", ".join(entry.usage for entry in POLICIES.values() if not entry.calls_model)
    )


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (404, {"error": "not found"}, r"has no model 'm': get it with `ollama pull m`"),
        (500, {"error": "no space"}, "can't run 'm': status 500: no space"),
        (401, {"error": "unauthorized"}, "refuses to run 'm': status 401: unauthorized"),
        (500, b"[]", "is no Ollama server"),
        (200, b"<html>", "is no Ollama server"),
        (200, b'{"response"', "is no Ollama server"),
        (200, b"null", "is no Ollama server"),
    ],
)
def test_a_server_that_cannot_load_is_named_before_the_run(status, body, message, make_run):
    with model_server(good, load=(status, body)) as server, pytest.raises(InputError, match=message):
        ready(server, make_run())
    assert server.asked == []


def test_a_redirection_is_not_followed(make_run):
    with model_server(good) as elsewhere:
        there = (307, b"", {"Location": f"{elsewhere.url}/api/chat"})
        with model_server(lambda body: there) as server, pytest.raises(InputError, match="failed in 5"):
            ready(server, make_run())
        with model_server(good, load=there) as server, pytest.raises(InputError, match="can't run"):
            ready(server, make_run())
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "http://evil.example",
        "evil.example/llama3",
        "a/b/c/d",
        "../../etc/passwd",
        "a b",
        "m;reboot",
        "$(reboot)",
        "m@host",
        "m:",
        "m:a:b",
        "m\nx",
        "-m",
        "\uff4d",
    ],
)
def test_a_model_name_is_only_a_name(name):
    with pytest.raises(InputError, match="no name of a local model"):
        resolve(f"ollama:{name}")


@pytest.mark.parametrize(
    "name",
    [
        "hf.co/user/repo:F16",
        "hf.co/bartowski/SmolLM2-135M-Instruct-GGUF:Q4_K_M",
        "registry.example:5000/user/model",
        "user/model:tag",
        "llama3.2:3b-instruct-q8_0",
    ],
)
def test_a_model_is_asked_for_by_the_name_that_its_server_shows(name, make_run, make_observation):
    tags = {"models": [{"model": name if name[-1] != "l" else f"{name}:latest", "digest": "d" * 64}]}
    with model_server(good, {"/api/tags": (200, tags), "/api/version": (200, {"version": "0.20.0"})}) as server:
        policy = ready(server, make_run(), model=name)
        assert policy.name == f"ollama:{name}"
        by = policy.decide(make_observation()).answered_by
    assert {body["model"] for body in server.questions()} == {name}
    assert by == f"ollama 0.20.0: {tags['models'][0]['model']} dddddddddddd; format, thinking off"


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "glm-5.2:cloud", "m:1b-Cloud"])
def test_a_model_that_its_server_would_ask_elsewhere_is_refused(name):
    with pytest.raises(InputError, match=r"ollama\.com"):
        resolve(f"ollama:{name}")


def test_without_the_client_the_error_names_the_extra():
    code = "import sys; sys.modules['ollama'] = None; from agents.registry import resolve; resolve('ollama:m')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: ollama:MODEL needs the package 'ollama': pip install 'rudder-twin[llm]'" in done.stderr


def test_the_environment_can_forbid_calls(make_run, monkeypatch):
    monkeypatch.setenv(MODEL_CALLS, "forbid")
    with model_server(good) as server, pytest.raises(InputError, match="forbidden here"):
        ready(server, make_run())


def test_the_policy_keeps_the_contract():
    with model_server(good) as server:
        kept = check_policy(resolve("ollama:m", ModelOptions(host=server.url)))
    assert kept == ["is a policy", "answers everything", "is made by its name"]
