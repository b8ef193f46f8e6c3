"""Chromium without a window, told what to do over its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@contextmanager
def chromium(profile: Path) -> Iterator[str]:
    """A running browser; gives the address of its DevTools."""
    assert CHROMIUM
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        "--disable-dev-shm-usage",
    ]
    process = subprocess.Popen(
        [CHROMIUM, *options, f"--user-data-dir={profile}", "about:blank"], stderr=subprocess.DEVNULL
    )
    try:
        port = profile / "DevToolsActivePort"
        while not (port.exists() and port.read_text().count("\n")):
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port.read_text().split()[0]}"
    finally:
        process.terminate()
        process.wait()


class Tab:
    """One page in a browser."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection, self._calls = connection, 0
        self.complaints: list[str] = []
        """What the console said of level warning or error, and everything that the page's policy refused."""
        self.requests: list[str] = []
        """Addresses that the page asked for, but for data within itself."""
        self._loaded = False

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and wait for its result."""
        self._calls += 1
        await self._connection.write_message(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while (message := await self._next()).get("id") != self._calls:
            pass
        return message["result"]

    async def open(self, address: str, width: int, height: int) -> None:
        """Show a page in a window of that size, and wait until it is loaded."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
        await self.call("Emulation.setDeviceMetricsOverride", **metrics)
        await self.call("Page.navigate", url=address)
        while not self._loaded:
            await self._next()

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return (await self.call("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def screenshot(self, whole: bool = True) -> bytes:
        """A PNG of the page."""
        return base64.b64decode((await self.call("Page.captureScreenshot", captureBeyondViewport=whole))["data"])

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._connection.read_message() or "{}")
        method, details = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Log.entryAdded" and details["entry"]["level"] in ("warning", "error"):
            self.complaints.append(details["entry"]["text"])
        elif method == "Runtime.exceptionThrown" or (
            method == "Runtime.consoleAPICalled" and details["type"] == "error"
        ):
            self.complaints.append(json.dumps(details))
        elif method == "Network.requestWillBeSent" and not details["request"]["url"].startswith("data:"):
            self.requests.append(details["request"]["url"])
        return message


async def tab(devtools: str) -> Tab:
    """A new tab of a running browser."""
    answer = await AsyncHTTPClient().fetch(f"{devtools}/json/new", method="PUT", body="")
    return Tab(await websocket_connect(json.loads(answer.body)["webSocketDebuggerUrl"], max_message_size=2**28))
