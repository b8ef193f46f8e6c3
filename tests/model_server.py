"""An HTTP server that answers as a test wants, in Ollama's API and in OpenAI's."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Answer = tuple[Any, ...]
"""Status, and content: bytes as they are, anything else as JSON; a third item, if there is one, has headers."""

GOOD = '{"reason": "r", "action": "replace", "share_percent": 50, "ranking": "misses", "expected_impact": "e"}'
"""An answer that can be used."""


def ollama(content: str | None, thinking: str | None = None, done_reason: str = "stop") -> Answer:
    """An answer of /api/chat."""
    message = {"role": "assistant", "content": content} | ({"thinking": thinking} if thinking else {})
    return 200, {"model": "m", "message": message, "done": True, "done_reason": done_reason}


def openai(content: str | None, finish_reason: str = "stop", **message: Any) -> Answer:
    """An answer of /chat/completions."""
    return 200, {"choices": [{"message": {"content": content} | message, "finish_reason": finish_reason}]}


class ModelServer(http.server.ThreadingHTTPServer):
    """`reply` makes an answer of the body of a question, `load` is that to loading a model, which Ollama does without a
    prompt; `gets` has answers by path. `asked` has path, headers (names in small letters) and body of
    all questions."""

    daemon_threads = True

    def __init__(self, reply: Callable[[dict[str, Any]], Any], gets: dict[str, Answer], load: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.gets, self.load = reply, gets, load
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []

    @property
    def port(self) -> int:
        return self.server_address[1]

    @property
    def url(self) -> str:
        """For `ollama:`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def v1(self) -> str:
        """For `openai:`."""
        return f"{self.url}/v1"

    def questions(self) -> list[dict[str, Any]]:
        """The bodies of all questions."""
        return [body for _, _, body in self.asked]


class _Handler(http.server.BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        self._send(*self.server.gets.get(self.path, (404, b"")))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/api/generate") and not body.get("prompt"):
            self._send(*self.server.load)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers, body))
        self._send(*self.server.reply(body))

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet: tests read their own output."""


LOADED = 200, {"response": "", "done": True, "done_reason": "load"}


@contextmanager
def model_server(
    reply: Callable[[dict[str, Any]], Any], gets: dict[str, Answer] | None = None, load: Answer = LOADED
) -> Iterator[ModelServer]:
    """A server on a free port, for as long as the block runs."""
    server = ModelServer(reply, gets or {}, load)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
