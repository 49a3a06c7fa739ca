"""Find chats that are too long, without tokenizing those that are certainly short.

A tokenizer without a normaliser makes at most one token per byte, so most prompts are settled by
their size in bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers.normalizers import Sequence as Normalizers

from common.errors import BadInput
from models.chat import Messages
from models.origin import ChatFormat
from models.probes import FAILURES, OTHER, Roles, chat_of, line_of, roles_of
from prompts.schema import Prompt

SLACK = 16
"""Tokens that a tokenizer may add around a text."""
SHOWN = 3
"""Prompts that a message names."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt as a stage sends it to a model."""

    prompt: Prompt
    messages: Messages


@dataclass(frozen=True)
class MeasuredLengths:
    """Lengths of chats, in tokens, compared with their room."""

    chats: int
    longest: int
    """Longest of the chats that were tokenized, which include the one with the largest bound."""
    too_long: tuple[tuple[int, Prompt], ...]
    """Tokens and prompt, longest first; each prompt once."""

    @property
    def named(self) -> str:
        """The longest of the prompts that are too long, in words."""
        shown = ", ".join(
            f"{prompt.named} ({tokens} tokens)" for tokens, prompt in self.too_long[:SHOWN]
        )
        more = len(self.too_long) - SHOWN
        return f"{shown} and {more} more" if more > 0 else shown


def measure(
    chat_format: ChatFormat, chats: Sequence[Chat], room: int, *, opened: bool
) -> MeasuredLengths:
    """Compare chats with a room in tokens; `opened` if they end with the generation prompt. Raises
    BadInput if the template raises on a chat."""
    bounds = Bounds(chat_format, opened)
    sized = sorted(((bounds.of(chat.messages), n) for n, chat in enumerate(chats)), reverse=True)
    longest, too_long = 0, dict[str, tuple[int, Prompt]]()
    for place, (bound, n) in enumerate(sized):
        if bound <= room and place:
            break
        chat = chats[n]
        tokens = _tokens(bounds, chat)
        longest = max(longest, tokens)
        known = too_long.get(chat.prompt.id, (0, chat.prompt))[0]
        if tokens > max(room, known):
            too_long[chat.prompt.id] = tokens, chat.prompt
    return MeasuredLengths(
        len(chats),
        longest,
        tuple(sorted(too_long.values(), key=lambda pair: (-pair[0], pair[1].id))),
    )


def _tokens(bounds: "Bounds", chat: Chat) -> int:
    try:
        return bounds.exact(chat.messages)
    except FAILURES as error:
        raise BadInput(
            f"{chat.prompt.named}: the chat template raises: {line_of(error)}", OTHER
        ) from None


class Bounds:
    """Upper bounds on the tokens of chats, from their bytes and the bytes that the template adds to
    each roles of chat."""

    def __init__(self, chat_format: ChatFormat, opened: bool) -> None:
        self._tokenizer, self._opened = chat_format.tokenizer, opened
        backend = getattr(chat_format.tokenizer, "backend_tokenizer", None)
        self._bounded = backend is not None and _keeps_text(backend.normalizer)
        self._added: dict[Roles, float] = {}

    def of(self, messages: Messages) -> float:
        """A bound in tokens; infinite if none is known."""
        roles = roles_of(messages)
        if roles not in self._added:
            self._added[roles] = self._of_template(roles) if self._bounded else float("inf")
        return self._added[roles] + sum(len(message["content"].encode()) for message in messages)

    def exact(self, messages: Messages) -> int:
        return len(
            self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=self._opened, return_dict=False
            )
        )

    def _of_template(self, roles: Roles) -> float:
        """Bytes that the template adds; infinite if it does more with a message than to write it
        once."""
        short = chat_of(roles)
        long = [{**message, "content": message["content"] * 9} for message in short]
        added = {
            self._bytes(chat) - sum(len(m["content"].encode()) for m in chat)
            for chat in (short, long)
        }
        return added.pop() + SLACK if len(added) == 1 else float("inf")

    def _bytes(self, messages: Messages) -> int:
        text: str = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=self._opened
        )
        return len(text.encode())


def _keeps_text(normalizer: Any) -> bool:
    """Whether the tokenizer has no normaliser, which could turn one character into many."""
    return normalizer is None or (isinstance(normalizer, Normalizers) and len(normalizer) == 0)
