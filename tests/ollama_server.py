"""A server that speaks Ollama's API over llama.cpp, for tests on machines without Ollama.

    python tests/ollama_server.py --port 11434 llama3=PATH.gguf

The name before "=" is a label: whatever a client should ask for, with the weights of PATH.gguf behind it. So an
answer of "llama3" tells that the road works, and nothing about Llama 3.

It serves what the official client needs to ask questions: /api/version, /api/tags, /api/chat and /api/generate
(https://github.com/ollama/ollama/blob/main/docs/api.md), without streaming, one question at a time. Like Ollama it
keeps the prompt before in memory and evaluates only what differs; a repeated question may so get another answer.
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]


class Engine(Protocol):
    """Whatever answers: a real model, or a test's own."""

    def chat(self, messages: list[Json], schema: Json | None, options: Json) -> tuple[str, str]:
        """The answer to a conversation, and why it ended ("stop", or "length" at its limit of tokens). `schema` is the
        JSON schema that it has to follow."""


class LlamaEngine:
    """One GGUF file in llama.cpp, on one thread so that what runs beside it isn't slowed twice."""

    def __init__(self, path: str, context_tokens: int = 4096) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = path
        params.n_ctx = context_tokens
        params.n_parallel = 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.verbosity = 0
        self._server = xllamacpp.Server(params)

    def chat(self, messages: list[Json], schema: Json | None, options: Json) -> tuple[str, str]:
        request: Json = {
            "messages": messages,
            "temperature": options.get("temperature", 0.8),
            "seed": options.get("seed", 0),
            "max_tokens": options.get("num_predict", 256),
        }
        if schema:
            request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        answer = self._server.handle_chat_completions(request)
        if "choices" not in answer:
            raise RuntimeError(json.dumps(answer))
        choice = answer["choices"][0]
        return choice["message"]["content"] or "", choice["finish_reason"]


class OllamaServer(ThreadingHTTPServer):
    """`engines` by model name. Port 0 takes a free one; `url` tells which."""

    daemon_threads = True

    def __init__(self, engines: dict[str, Engine], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Api)
        self.engines = {_full_name(name): engine for name, engine in engines.items()}
        self.one_at_a_time = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Api(BaseHTTPRequestHandler):
    server: OllamaServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave in one packet; in two, the second waits 40 ms for an acknowledgement

    def log_message(self, *_: object) -> None:
        """Quiet: tests read their own output."""

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self._send({"version": "0.0.0-test"})
        elif self.path == "/api/tags":
            self._send({"models": [{"model": name, "name": name} for name in self.server.engines]})
        else:
            self._send({"error": f"no {self.path}"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path not in ("/api/chat", "/api/generate"):
            self._send({"error": f"no {self.path}"}, 404)
            return
        request = json.loads(body)
        engine = self.server.engines.get(_full_name(request["model"]))
        if request.get("stream", True):
            self._send({"error": "this server doesn't stream"}, 400)
        elif engine is None:
            self._send({"error": f"model {request['model']!r} not found"}, 404)
        else:
            self._answer(engine, request)

    def _answer(self, engine: Engine, request: Json) -> None:
        """Ask the engine; without a prompt a client only wants the model loaded, and it is."""
        messages = request.get("messages") or []
        if prompt := request.get("prompt"):
            messages = [{"role": "user", "content": prompt}]
        try:
            with self.server.one_at_a_time:
                text, ended = "", "load"
                if messages:
                    text, ended = engine.chat(messages, request.get("format"), request.get("options") or {})
        except Exception as error:
            self._send({"error": str(error)}, 500)
            return
        said = {"message": {"role": "assistant", "content": text}} if self.path == "/api/chat" else {"response": text}
        self._send({"model": request["model"], "done": True, "done_reason": ended, **said})

    def _send(self, answer: Json, status: int = 200) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _full_name(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=11434, help="0 takes a free one")
    parser.add_argument("models", nargs="+", metavar="NAME=PATH.gguf")
    arguments = parser.parse_args()
    paths = {name: path for name, _, path in (text.partition("=") for text in arguments.models)}
    if missing := [path for path in paths.values() if not Path(path).is_file()]:
        parser.error(f"no such file: {missing[0]!r}; write NAME=PATH.gguf")
    engines = {name: LlamaEngine(path) for name, path in paths.items()}
    server = OllamaServer(engines, arguments.port)
    print(server.url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
