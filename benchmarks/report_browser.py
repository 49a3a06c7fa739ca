"""Chromium without a window, driven over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/"""

import base64
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from common.errors import RunFailed

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--remote-debugging-port=0", "--no-first-run", "--disable-background-networking"),
)
TALLEST = 16_000
"""Pixels of a picture at most."""


class Browser:
    """A running browser with a profile of its own."""

    def __enter__(self) -> Self:
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            raise RunFailed("no Chromium was found", "make chromium, as root")
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if address := re.search(r"listening on (ws://\S+)", line):
                self._all = Connection(address[1])
                self._place = address[1].split("/devtools/")[0]
                return self
        raise RunFailed(f"{program} did not start", "run it by hand to see why")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._profile.cleanup()

    def tab(self) -> "Tab":
        target = self._all.ask("Target.createTarget", url="about:blank")["targetId"]
        return Tab(f"{self._place}/devtools/page/{target}")


class Connection:
    """Commands to a target; what it reports in between is kept in `events`."""

    def __init__(self, address: str) -> None:
        self._socket: ClientConnection = connect(address, max_size=None)
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == number:
                if "error" in message:
                    raise RunFailed(f"{method}: {message['error']}")
                return dict(message["result"])
            self.events.append(message)

    def close(self) -> None:
        self._socket.close()


class Tab(Connection):
    """A page."""

    def open(self, page: Path, width: int, scheme: str = "light") -> None:
        """Load a file at a width of the screen, and wait until it is there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + 60
        while self.value("location.protocol + document.readyState") != "file:complete":
            if time.monotonic() > end:
                raise RunFailed(f"{page} did not load within a minute")
            time.sleep(0.05)
        time.sleep(0.5)
        self.value("1")

    @property
    def complaints(self) -> list[str]:
        """Messages on the console, errors, and requests that failed or left the page."""
        found = []
        for event in self.events:
            method, about = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(f"error: {about['exceptionDetails']['text']}")
            elif method == "Runtime.consoleAPICalled":
                found.append(f"console: {about['type']}")
            elif method == "Log.entryAdded":
                found.append(f"log: {about['entry']['text']}")
            elif method == "Network.loadingFailed":
                found.append(f"request failed: {about['errorText']}")
            elif method == "Network.requestWillBeSent":
                address = about["request"]["url"]
                if not address.startswith(("file:", "data:")):
                    found.append(f"request: {address}")
        return found

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise RunFailed(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def tab_key(self, then: str) -> Any:
        """Press Tab; the value of an expression after it."""
        for kind in ("keyDown", "keyUp"):
            key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
            self.ask("Input.dispatchKeyEvent", type=kind, **key)
        return self.value(then)

    def screenshot(self, path: Path) -> None:
        """A picture of the whole page."""
        content = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        size = {"width": content["width"], "height": min(TALLEST, content["height"])}
        picture = self.ask(
            "Page.captureScreenshot",
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "scale": 1, **size},
        )
        path.write_bytes(base64.b64decode(picture["data"]))
