"""`ollama:MODEL` through the official client: a real model behind Ollama's API, and servers that misbehave.

The small model shows that the road works; nothing here depends on what it decides.
"""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from ollama_server import OllamaServer

from agents.check import check_policy
from agents.llm.provider import MODEL_CALLS
from agents.registry import POLICIES, ModelOptions, resolve
from traces.errors import InputError

ANSWER = '{"reason": "r", "action": "replace", "share_percent": 25, "ranking": "degree", "expected_impact": "e"}'

pytestmark = pytest.mark.model_calls


class Engine:
    """Answers what `reply` returns, and remembers what it was asked."""

    def __init__(self, reply):
        self.reply = reply
        self.asked = []

    def chat(self, messages, schema, options):
        self.asked.append((messages, schema, options))
        return self.reply()


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scripted(reply):
    """A server whose model "m" answers what `reply` returns."""
    return serving(OllamaServer({"m": Engine(reply)}))


def raw(status, body, **headers):
    """A server that answers every request with the same bytes: `server.reply`, which a test may change."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body, headers = self.server.reply
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.reply = status, body, headers
    return serving(server)


def ready(server, run, timeout_s=5.0, model="m"):
    policy = resolve(f"ollama:{model}", ModelOptions(host=url(server), timeout_s=timeout_s, keep_answers=False)).make()
    policy.reset(run, seed=0)
    return policy


def url(server):
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_a_real_model_answers_in_the_schema(smollm_url, make_run, make_observation):
    policy = resolve("ollama:smollm2", ModelOptions(host=smollm_url, timeout_s=300.0)).make()
    policy.reset(make_run(), seed=0)
    decision = policy.decide(make_observation())
    assert decision.outcome == "valid"
    assert decision.latency_s > 0.0


def test_the_host_comes_from_the_environment(smollm_url, make_run, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", smollm_url)
    resolve("ollama:smollm2:latest").make().reset(make_run(), seed=0)


def test_the_question_goes_out_as_set(make_run, make_observation):
    with scripted(lambda: ANSWER) as server:
        decision = ready(server, make_run()).decide(make_observation())
    assert (decision.replace, decision.share, decision.ranking, decision.outcome) == (True, 0.25, "degree", "valid")
    [(messages, schema, options)] = server.engines["m:latest"].asked  # loading asked nothing
    assert [message["role"] for message in messages] == ["system", "user"]
    assert "action" in schema["properties"]
    assert options == {"temperature": 0.0, "seed": 0, "num_ctx": 4096, "num_predict": 512}


def fails():
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("reply", "outcome", "reason"),
    [
        (lambda: "garbage", "invalid", "unusable answer: garbage"),
        (lambda: ANSWER[: len(ANSWER) // 2], "invalid", "unusable answer"),
        (lambda: '{"decision": "replace"}', "invalid", "unusable answer"),
        (fails, "failed", "out of memory (status code: 500)"),
    ],
)
def test_a_useless_answer_is_counted_and_the_next_one_asked_for(reply, outcome, reason, make_run, make_observation):
    with scripted(reply) as server:
        policy = ready(server, make_run())
        decision = policy.decide(make_observation())
        server.engines["m:latest"].reply = lambda: ANSWER
        assert policy.decide(make_observation()).outcome == "valid"
    assert (decision.outcome, decision.replace) == (outcome, False)
    assert reason in decision.reason


def test_a_server_that_hangs_is_late(make_run, make_observation):
    release = threading.Event()
    with scripted(lambda: release.wait(10) and ANSWER) as server:
        decision = ready(server, make_run(), timeout_s=0.2).decide(make_observation())
        release.set()
    assert (decision.outcome, decision.replace) == ("late", False)
    assert 0.2 <= decision.latency_s < 2.0


def test_a_server_that_dies_during_the_run_fails_every_answer(make_run, make_observation):
    with scripted(lambda: ANSWER) as server:
        policy = ready(server, make_run())
    assert [policy.decide(make_observation()).outcome for _ in range(3)] == ["failed"] * 3


@pytest.mark.parametrize("body", [b"<html>", b'{"message": {"role"', b"[]", b"null", b"{}", b"\xff"])
def test_a_server_that_stops_speaking_the_api_fails(body, make_run, make_observation):
    with raw(200, b'{"response": ""}') as server:
        policy = ready(server, make_run())
        server.reply = 200, body, {}
        decision = policy.decide(make_observation())
    assert (decision.outcome, decision.replace) == ("failed", False)


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


def test_a_missing_model_says_how_to_get_it(make_run):
    with scripted(lambda: ANSWER) as server, pytest.raises(InputError, match=r"`ollama pull llama3\.2:3b`"):
        ready(server, make_run(), model="llama3.2:3b")


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (500, b'{"error": "no space"}', "can't run 'm': no space"),
        (500, b"[]", "is no Ollama server"),
        (200, b"<html>", "is no Ollama server"),
        (200, b'{"response"', "is no Ollama server"),
        (200, b"null", "is no Ollama server"),
    ],
)
def test_a_server_that_cannot_start_is_named_before_the_run(status, body, message, make_run):
    with raw(status, body) as server, pytest.raises(InputError, match=message):
        ready(server, make_run())


def test_a_redirection_is_not_followed(make_run):
    with scripted(lambda: ANSWER) as elsewhere:
        with raw(307, b"", Location=f"{elsewhere.url}/api/generate") as server, pytest.raises(InputError):
            ready(server, make_run())
        assert elsewhere.engines["m:latest"].asked == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "http://evil.example",
        "evil.example/llama3",
        "evil.example:80/x/llama3",
        "hf.co/user/model",
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


@pytest.mark.parametrize("name", ["gpt-oss:120b-cloud", "glm-5.2:cloud", "m:1b-Cloud"])
def test_a_model_that_its_server_would_ask_elsewhere_is_refused(name):
    with pytest.raises(InputError, match=r"ollama\.com"):
        resolve(f"ollama:{name}")


@pytest.mark.parametrize("host", ["http://[", "http://a:b", "::::"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(InputError, match="is no address of an Ollama server"):
        resolve("ollama:m", ModelOptions(host=host))


def test_without_the_client_the_error_names_the_extra():
    code = "import sys; sys.modules['ollama'] = None; from agents.registry import resolve; resolve('ollama:m')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "InputError: ollama:MODEL needs the package 'ollama': pip install 'rudder-twin[llm]'" in done.stderr


def test_the_environment_can_forbid_calls(make_run, monkeypatch):
    monkeypatch.setenv(MODEL_CALLS, "forbid")
    with scripted(lambda: ANSWER) as server, pytest.raises(InputError, match="forbidden here"):
        ready(server, make_run())


def test_the_policy_keeps_the_contract():
    with scripted(lambda: ANSWER) as server:
        kept = check_policy(resolve("ollama:m", ModelOptions(host=server.url)))
    assert kept == ["is a policy", "answers everything", "is made by its name"]
