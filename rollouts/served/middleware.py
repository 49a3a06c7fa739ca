"""The door of a server: no path without the secret, and the paths that a stage asks.

vLLM's own key guards `/v1` and a few more only; its paths for weights, pausing and metrics are open
to whoever reaches the port."""

import asyncio
import hmac
import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from rollouts.served import ABOUT, PRIVATE, PUBLISH, RUN, SECRET
from rollouts.served.chunks import Chunks

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
BEAT = 2.0
"""Seconds between two signs of life while an answer is computed."""
_log = logging.getLogger(__name__)


class Guard:
    """ASGI middleware: 401 without `Authorization: Bearer SECRET`, on every path."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._expected = f"Bearer {os.environ[SECRET]}".encode()
        self._chunks: Chunks | None = None
        # The processes of this server are connected by now: what they met at needs no name.
        for path in Path(os.environ[PRIVATE]).iterdir():
            if path.is_socket() or path.name.startswith("vllm_dist_"):
                path.unlink()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle a request, or hand it on to vLLM."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif not self._allowed(scope):
            await _refuse(scope, send)
        elif scope["type"] == "http" and scope["path"] in (RUN, PUBLISH, ABOUT):
            if self._chunks is None:
                self._chunks = Chunks(scope["app"].state.engine_client)
            await _answer(self._chunks, scope["path"], receive, send)
        else:
            await self._app(scope, receive, send)

    def _allowed(self, scope: Message) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


async def _refuse(scope: Message, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await _begin(send, 401)
    await send({"type": "http.response.body", "body": b'{"error": "unauthorized"}'})


async def _begin(send: Send, status: int) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _answer(chunks: Chunks, path: str, receive: Receive, send: Send) -> None:
    """Answer with JSON. White space before it says that the engine is alive; an error is in the
    answer, as the status is sent first. A caller who has gone ends the work."""
    asked = await _body(receive)
    await _begin(send, 200)
    work = asyncio.ensure_future(_result(chunks, path, asked))
    gone = asyncio.ensure_future(receive())
    try:
        while not work.done() and not gone.done():
            await asyncio.wait([work, gone], timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await chunks.alive()
                await send({"type": "http.response.body", "body": b"\n", "more_body": True})
    finally:
        gone.cancel()
        if not work.done():
            work.cancel()
    body = json.dumps(await work).encode()
    await send({"type": "http.response.body", "body": body})


async def _result(chunks: Chunks, path: str, asked: dict[str, Any]) -> dict[str, Any]:
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        if path == RUN:
            return await chunks.run(asked)
        return await (chunks.publish(asked) if path == PUBLISH else chunks.about())
    except EngineDeadError:
        return {"error": "vLLM's engine process ended", "dead": True}
    except Exception as error:  # every cause is for the stage to read
        _log.exception("%s failed", path)
        return {"error": f"{type(error).__name__}: {error}"}


async def _body(receive: Receive) -> dict[str, Any]:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return json.loads(b"".join(parts) or b"{}")
