"""JSON objects over a socket, one a line."""

import json
import select
import socket
from collections.abc import Iterator
from typing import Any


class Channel:
    """One end of the conversation between client and worker."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self._read = b""

    def send(self, **message: Any) -> None:
        """Send an object. OSError where the other end is gone."""
        self.end.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """The next object; None when the other end is gone."""
        while b"\n" not in self._read:
            try:
                data = self.end.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._read += data
        line, self._read = self._read.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        return message

    def waiting(self) -> bool:
        """Whether something is there to be received, or the other end is gone."""
        return b"\n" in self._read or bool(select.select([self.end], [], [], 0)[0])

    def received(self) -> Iterator[dict[str, Any]]:
        """All objects until the other end is gone."""
        while (message := self.receive()) is not None:
            yield message
