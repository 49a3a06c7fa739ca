"""Talks to one server over HTTP. Every answer is JSON behind white space, which the server sends
every few seconds while it computes, after a look at its engine process."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

from common.errors import BadInput, RunFailed

Answer = dict[str, Any]
CONNECT_SECONDS = 10.0
"""Longest time until a connection is accepted, which a paused server's machine does for it."""


class ServerGone(Exception):
    """A server that refuses or breaks the connection, or whose engine process has ended."""


class ServerClient:
    """Asks one server. It may be used by one thread at a time."""

    def __init__(self, url: str, secret: str, name: str, limit: float) -> None:
        """`limit`: seconds without any byte after which a server is given up."""
        self.url, self.name, self.limit = url.rstrip("/"), name, limit
        self._secret, parts = secret, urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(
                f"engine.urls: {url!r} is no address of a server", "write http://HOST:PORT"
            )
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._last_sign = time.monotonic()

    def ask(self, path: str, question: Answer | None = None, limit: float | None = None) -> Answer:
        """The answer to a question (POST), or to none (GET).

        Raises ServerGone where the server is not there any more, RunFailed where it says that
        something failed, and where it is silent for too long (`limit` seconds)."""
        limit = limit or self.limit
        try:
            answer = json.loads(self._received(path, question, limit))
        except TimeoutError:
            raise RunFailed(
                f"{self.name} ({self.url}) did not answer for {limit:.0f} s",
                "look at its log and at the machine: it is paused, swapped out or overloaded; then"
                " run the same command again",
            ) from None
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise ServerGone(f"{type(error).__name__}: {error}") from None
        if answer.get("dead"):
            raise ServerGone(answer["error"])
        if "error" in answer:
            raise RunFailed(
                f"{self.name} ({self.url}) could not do {path}: {answer['error']}",
                "look at its log",
            )
        return answer

    def silent_for(self) -> float:
        """Seconds since the server was last heard, or since it was asked."""
        return time.monotonic() - self._last_sign

    def _received(self, path: str, question: Answer | None, limit: float) -> bytes:
        self._last_sign = time.monotonic()
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=CONNECT_SECONDS)
        headers = {"Authorization": f"Bearer {self._secret}"}
        try:
            _connect(connection, limit)
            if question is None:
                connection.request("GET", path, headers=headers)
            else:
                connection.request("POST", path, json.dumps(question).encode(), headers)
            response = connection.getresponse()
            self._require_allowed(response.status, path)
            parts = []
            while part := response.read1(1 << 20):
                self._last_sign = time.monotonic()
                parts.append(part)
            return b"".join(parts)
        finally:
            connection.close()

    def _require_allowed(self, status: int, path: str) -> None:
        if status == 401:
            raise BadInput(
                f"{self.name} ({self.url}) refuses the secret",
                "set the variable that `secret_env` names to the server's own secret",
            )
        if status != 200:
            raise BadInput(
                f"{self.name} ({self.url}) answers {path} with status {status}: it is no rollout"
                " server",
                "start it with `python -m rollouts.served`",
            )


def _connect(connection: http.client.HTTPConnection, limit: float) -> None:
    """Connect, and wait at most `limit` seconds for every byte from now on."""
    try:
        connection.connect()
    except TimeoutError as error:
        raise ConnectionError(str(error)) from None
    connection.sock.settimeout(limit)
