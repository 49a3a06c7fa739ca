"""The connection from a stage's process to its runner: JSON lines over an inherited pipe, or over a
socket if a launcher started the process, which passes no pipe on.

The runner proves nothing, the process does: with a token from its environment. The process ends
when the socket closes, so that none outlives its runner on any machine."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import MutableMapping
from typing import Any

CHANNEL = "UPHILL_CHANNEL"
"""Environment variable that holds the pipe's file descriptor."""
ADDRESS, TOKEN = "UPHILL_RUNNER", "UPHILL_RUNNER_TOKEN"
"""Environment variables that hold the runner's `host:port`, and what a process must know."""
STOP = b"stop\n"
"""What the runner sends over a socket in place of SIGTERM, which launchers handle in their own
ways."""
REPORT_INTERVAL = 0.1
"""Shortest time between two progress messages, in seconds."""
CONNECT_SECONDS = 60


class Channel:
    """Sends JSON lines to the runner through `handle`; discards them if that is None, which means
    that the process was started by hand."""

    def __init__(self, handle: int | None) -> None:
        self.handle = handle
        self.last_report = 0.0
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send one message."""
        if self.handle is not None:
            data = (json.dumps(message, allow_nan=False) + "\n").encode()
            with self._lock:
                while data:
                    data = data[os.write(self.handle, data) :]

    def progress(self, done: float, total: float, unit: str = "step", **metrics: Any) -> None:
        """Implements `context.progress`. Metrics that are not finite are sent as text."""
        now = time.monotonic()
        if now - self.last_report >= REPORT_INTERVAL or done >= total:
            self.last_report = now
            shown = {
                name: value if is_json(value) else str(value) for name, value in metrics.items()
            }
            self.send(type="progress", done=done, total=total, unit=unit, metrics=shown)

    def note(self, text: str) -> None:
        """Implements `context.note`: a line for the user and for the log."""
        print(f"note: {text}", flush=True)
        self.send(type="note", text=text)


def is_json(value: Any) -> bool:
    """Whether a value is plain JSON, without infinities."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def inherited(environ: MutableMapping[str, str]) -> Channel:
    """The channel over the pipe that the runner passed."""
    number = environ.pop(CHANNEL, None)
    if number is None:
        return Channel(None)
    os.set_inheritable(int(number), False)
    return Channel(int(number))


def connected(environ: MutableMapping[str, str], rank: int, stop: list[int]) -> Channel:
    """A channel over a socket to the runner, as process `rank` (-1: unknown). A stop request is
    added to `stop`. The token leaves the environment, so that no child inherits it."""
    host, _, port = environ.pop(ADDRESS).rpartition(":")
    link = socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS)
    link.settimeout(None)
    keep_alive(link)
    hello = {"token": environ.pop(TOKEN), "rank": rank}
    link.sendall((json.dumps(hello) + "\n").encode())
    threading.Thread(target=_obey, args=(link, stop), daemon=True).start()
    return Channel(link.fileno())


def _obey(link: socket.socket, stop: list[int]) -> None:
    """Pass the runner's stop request on; end this process when the runner is gone."""
    try:
        while link.recv(len(STOP)):
            stop.append(signal.SIGTERM)
    except OSError:
        pass
    os._exit(1)


def keep_alive(link: socket.socket) -> None:
    """Let the kernel notice within a minute that the machine at the other end is gone."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (
        (socket.TCP_KEEPIDLE, 20),
        (socket.TCP_KEEPINTVL, 10),
        (socket.TCP_KEEPCNT, 3),
    ):
        link.setsockopt(socket.IPPROTO_TCP, option, seconds)
