"""The process that replies. It ends when the client does: with its socket, or by the kernel."""

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from common.errors import UphillError
from rollouts.interface import Rollout
from rollouts.served import STARTER
from rollouts.served.lifetime import die_with_starter
from rollouts.talk.channel import Channel

SMALLEST_ROOM = 1
"""Tokens that must be left for a reply."""


class Streams(Protocol):
    """What a worker needs of an engine (`streaming.py`)."""

    @property
    def max_model_len(self) -> int: ...

    def encode(self, messages: list[dict[str, str]]) -> list[int]: ...

    def stream(
        self, prompt: list[int], *, temperature: float, max_tokens: int, seed: int
    ) -> Any: ...


def main(words: Sequence[str]) -> None:
    """Start the engine, then reply until the client is gone."""
    options = parsed(words)
    os.environ[STARTER] = str(options.starter)
    die_with_starter()
    channel = Channel(socket.socket(fileno=options.socket))
    try:
        engine = _engine(options)
    except UphillError as error:
        channel.send(error=error.message, remedy=error.remedy)
        return
    serve(engine, channel)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options that `client.py` gives."""
    parser = argparse.ArgumentParser(prog="python -m rollouts.talk", description=__doc__)
    parser.add_argument("checkpoint", help="Hugging Face checkpoint folder")
    parser.add_argument("--socket", type=int, required=True, help="number of the open socket")
    parser.add_argument("--starter", type=int, required=True, help="process that started this one")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--max-model-len", type=int, default=512)
    parser.add_argument("--kv-cache-gib", type=int, default=1, help="on a CPU")
    parser.add_argument("--memory-share", type=float, default=0.9, help="on a GPU")
    return parser.parse_args(words)


def _engine(options: argparse.Namespace) -> Streams:
    from common.devices import DevicesConfig, InProcess
    from common.execution import ExecutionConfig
    from rollouts.config import RolloutConfig
    from rollouts.talk.streaming import StreamingEngine

    config = RolloutConfig(dtype=options.dtype, max_model_len=options.max_model_len)
    devices = DevicesConfig(engine=InProcess(memory_share=options.memory_share))
    execution = ExecutionConfig(max_num_seqs=1, kv_cache_gib=options.kv_cache_gib, devices=devices)
    return StreamingEngine(Path(options.checkpoint), config, 0, execution)


def serve(engine: Streams, channel: Channel) -> None:
    """Reply to what the client sends. A stop that comes after the end of its reply is nothing."""
    channel.send(ready=engine.max_model_len)
    for request in channel.received():
        if "messages" in request:
            _reply(engine, channel, request)


def _reply(engine: Streams, channel: Channel, request: dict[str, Any]) -> None:
    try:
        prompt = engine.encode(request["messages"])
    except Exception as error:  # a chat template raises what it likes
        message = f"the chat template refuses the conversation: {type(error).__name__}: {error}"
        channel.send(error=message, remedy="begin a new one with /reset, or leave --system out")
        return
    room = engine.max_model_len - len(prompt)
    if room < SMALLEST_ROOM:
        channel.send(overflow=len(prompt), room=engine.max_model_len)
        return
    longest = min(request["max_tokens"], room)
    stream = engine.stream(
        prompt, temperature=request["temperature"], max_tokens=longest, seed=request["seed"]
    )
    text, whole = "", None
    for now, whole in stream:
        if len(now) > len(text) and now.startswith(text):  # the whole may have thinking marks
            channel.send(text=now[len(text) :])
            text = now
        if whole is None and channel.waiting():
            stream.close()
            break
    _end(channel, text, whole)


def _end(channel: Channel, text: str, whole: Rollout | None) -> None:
    if whole is None:
        channel.send(end="stopped", text=text, tokens=None)
    else:
        channel.send(end=whole.finish, text=whole.text, tokens=len(whole.token_ids))
