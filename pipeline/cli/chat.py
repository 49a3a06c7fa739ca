"""`uphill chat`: a conversation with a checkpoint, or with two that answer the same messages.

Each checkpoint has an engine in a process of its own (`rollouts/talk/`), its own chat template and
its own memory of the conversation, with its own replies."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from common.errors import BadInput, RunFailed
from common.seeds import derive
from common.visible import visible
from pipeline.cli.output import print_text
from pipeline.cli.served_model import ServedModel
from rollouts.talk.client import Reply, Talker

RESET, QUIT = "/reset", "/quit"
TURN = "you> "
MEMORY_SHARE = 0.9
"""Share of a GPU's memory for all engines together."""


class Replies(Protocol):
    """What a conversation needs of a checkpoint (`rollouts.talk.client.Talker`)."""

    name: str

    def ask(
        self, messages: Sequence[dict[str, str]], temperature: float, max_tokens: int, seed: int
    ) -> None: ...

    def pieces(self) -> Iterator[str | Reply]: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Sampling:
    """How replies are sampled."""

    system: str | None = None
    temperature: float = 0.0
    max_tokens: int = 256
    seed: int = 0


@dataclass
class Side:
    """One checkpoint and its memory of the conversation."""

    talker: Replies
    messages: list[dict[str, str]] = field(default_factory=list)


def chat(models: Sequence[ServedModel], sampling: Sampling) -> None:
    """Talk until the end of input. BadInput where a checkpoint cannot be served."""
    terminal = sys.stdin.isatty()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="uphill-chat-")))
        share = MEMORY_SHARE / len(models)
        talkers = [
            stack.enter_context(
                Talker(model.name, model.folder, model.rollouts, folder / f"{number}.log", share)
            )
            for number, model in enumerate(models)
        ]
        for talker in talkers:
            length = talker.wait()
            if terminal:
                print_text(f"{talker.name} is ready, {length:,} tokens of context.")
        if terminal:
            import readline  # noqa: F401  # gives `input` its keys and history

            print_text(f"{RESET} begins anew, {QUIT} or Ctrl-D ends, Ctrl-C stops a reply.")
        Conversation([Side(talker) for talker in talkers], sampling, terminal).run()


class Conversation:
    """Reads messages and shows replies. On a terminal an error ends a turn, elsewhere the
    program."""

    def __init__(self, sides: Sequence[Side], sampling: Sampling, terminal: bool) -> None:
        self.sides, self.sampling, self.terminal = sides, sampling, terminal
        self.turn = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        system = self.sampling.system
        first = [] if system is None else [{"role": "system", "content": system}]
        for side in self.sides:
            side.messages = list(first)

    def run(self) -> None:
        """Until `/quit` or the end of input."""
        while (text := self._line()) not in (None, QUIT):
            if text == RESET:
                self.reset()
                self._remark("a new conversation begins")
            elif text:
                self._turn(text)

    def _line(self) -> str | None:
        """The next message; None at the end of input, an empty text after Ctrl-C."""
        try:
            if self.terminal:
                return input(TURN).strip()
            line = sys.stdin.readline()
            return line.strip() if line else None
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            if not self.terminal:
                raise
            self._remark(f"\n{QUIT} or Ctrl-D ends")
            return ""
        except UnicodeDecodeError as error:
            raise BadInput(f"the input is no UTF-8: {error}", "give text in UTF-8") from None

    def _turn(self, text: str) -> None:
        """One message and the replies to it. What has no reply is forgotten."""
        for side in self.sides:
            side.messages.append({"role": "user", "content": _unicode(text)})
        try:
            replies = self._replies()
        except BadInput as error:
            for side in self.sides:
                side.messages.pop()
            if not self.terminal:
                raise
            self._remark(f"{error.message}\n{error.remedy}")
            return
        for side, reply in zip(self.sides, replies, strict=True):
            side.messages.append({"role": "assistant", "content": reply.text})
        self.turn += 1

    def _replies(self) -> list[Reply]:
        seed = derive(self.sampling.seed, "chat", str(self.turn))
        for side in self.sides:
            side.talker.ask(
                side.messages, self.sampling.temperature, self.sampling.max_tokens, seed
            )
        with self._stoppable():
            if len(self.sides) == 1:
                return [self._streamed(self.sides[0].talker)]
            replies = self._all_replies()
        show_beside([side.talker.name for side in self.sides], replies, self.terminal)
        return replies

    def _all_replies(self) -> list[Reply]:
        """The replies of all; the error of one of them once all have ended."""
        replies, errors = list[Reply](), list[BadInput]()
        for side in self.sides:
            try:
                replies.append(_whole(side.talker))
            except BadInput as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return replies

    def _streamed(self, talker: Replies) -> Reply:
        """Print a reply while it grows."""
        reply = _whole(talker, shown=True)
        print(flush=True)
        self._remark(ending(reply, self.sampling.max_tokens))
        return reply

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        """On a terminal the first Ctrl-C stops the replies, and another one the program."""
        if not self.terminal:
            yield
            return

        def stop(number: int, frame: Any) -> None:
            signal.signal(signal.SIGINT, before)
            for side in self.sides:
                side.talker.stop()

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _remark(self, text: str) -> None:
        """A line that is no reply: on a terminal on stderr, elsewhere there is none."""
        if text and self.terminal:
            print_text(text, sys.stderr)


def _whole(talker: Replies, shown: bool = False) -> Reply:
    """A reply, printed while it grows if it is `shown`."""
    for piece in talker.pieces():
        if isinstance(piece, Reply):
            return piece
        if shown:
            print(visible(piece, None), end="", flush=True)
    raise RunFailed(f"{talker.name}: a reply without an end", "start the chat again")


def ending(reply: Reply, max_tokens: int) -> str:
    """How a reply ended, if not with its end token."""
    if reply.end == "length":
        return f"(cut off after {reply.tokens:,} tokens; --max-tokens is {max_tokens:,})"
    return "(stopped)" if reply.end == "stopped" else ""


def show_beside(names: Sequence[str], replies: Sequence[Reply], terminal: bool) -> None:
    """Print the replies to one message: in columns on a terminal, else one after the other."""
    if not terminal:
        for name, reply in zip(names, replies, strict=True):
            print_text(f"{name}: {reply.text}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*(visible(name) for name in names), expand=True)
    for column in table.columns:
        column.ratio, column.overflow = 1, "fold"
    table.add_row(*(visible(reply.text) for reply in replies))
    if any(notes := [ending(reply, reply.tokens or 0) for reply in replies]):
        table.add_row(*notes)
    Console(markup=False, emoji=False, highlight=False).print(table)


def _unicode(text: str) -> str:
    """A message without the halves of characters that a terminal's bytes may have left."""
    return text.encode("utf-8", "replace").decode("utf-8")
