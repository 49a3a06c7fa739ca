"""Starts a worker, and asks it. Light: loads neither torch nor vllm."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from common.errors import BadInput, RunFailed
from rollouts.config import RolloutConfig
from rollouts.talk.channel import Channel

ROOT = Path(__file__).parents[2]
TAIL = 2000
"""Characters of a worker's log in an error."""


class NoRoom(BadInput):
    """The conversation fills the model's context."""


@dataclass(frozen=True)
class Reply:
    """A whole reply."""

    text: str
    end: str
    """`stop` (end token), `length` (cut off at the limit) or `stopped` (by `Talker.stop`)."""
    tokens: int | None


class Talker:
    """A checkpoint that replies, in a process of its own. Use it as a context."""

    def __init__(
        self, name: str, checkpoint: Path, config: RolloutConfig, log: Path, memory_share: float
    ) -> None:
        """Start the process; `wait` says when it is ready. `memory_share` is that of a GPU."""
        self.name, self._log = name, log
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        words = [
            *(sys.executable, "-P", "-m", "rollouts.talk", str(checkpoint.absolute())),
            *("--socket", str(theirs.fileno()), "--starter", str(os.getpid())),
            *("--dtype", config.dtype, "--max-model-len", str(config.max_model_len)),
            *("--memory-share", str(memory_share)),
        ]
        paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        with theirs, log.open("wb") as output:
            self._child = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for the client alone
            )

    def wait(self) -> int:
        """Wait until the engine is ready; its longest sequence. BadInput where the checkpoint
        cannot be served, RunFailed where the process ended, with the end of its log."""
        return int(self._next()["ready"])

    def ask(
        self, messages: Sequence[dict[str, str]], temperature: float, max_tokens: int, seed: int
    ) -> None:
        """Begin a reply to a conversation."""
        try:
            self._channel.send(
                messages=list(messages), temperature=temperature, max_tokens=max_tokens, seed=seed
            )
        except OSError:
            raise self._gone() from None

    def pieces(self) -> Iterator[str | Reply]:
        """The reply as it grows, and at last the whole of it. NoRoom where the conversation leaves
        none, BadInput where the chat template refuses it."""
        while True:
            message = self._next()
            if "overflow" in message:
                raise NoRoom(
                    f"{self.name}: the conversation has {message['overflow']:,} tokens and leaves"
                    f" no room for a reply in the {message['room']:,} of the context",
                    "begin a new one with /reset, or start with a longer --max-model-len",
                )
            if "end" in message:
                yield Reply(message["text"], message["end"], message["tokens"])
                return
            yield message["text"]

    def stop(self) -> None:
        """End the present reply. `pieces` then gives what there is of it."""
        try:
            self._channel.send(stop=True)
        except OSError:
            raise self._gone() from None

    def __enter__(self) -> "Talker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._channel.end.close()
        self._child.kill()  # there is nothing that it would save
        self._child.wait()

    def _next(self) -> dict[str, Any]:
        message = self._channel.receive()
        if message is None:
            raise self._gone()
        if "error" in message:
            raise BadInput(f"{self.name}: {message['error']}", message["remedy"])
        return message

    def _gone(self) -> RunFailed:
        code = self._child.wait()
        end = self._log.read_text(errors="replace")[-TAIL:].strip()
        return RunFailed(
            f"{self.name}: its engine ended with code {code}:\n{end}", "read the lines"
        )
