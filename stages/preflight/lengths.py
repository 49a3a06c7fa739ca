"""How many tokens chats have, without tokenizing those that are short beyond doubt.

No tokenizer that takes text as it is makes more tokens than the text has bytes, so a million short
prompts cost a look each."""

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
"""Tokens that a tokenizer may put around a text of its own accord."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Chat:
    """A prompt as a stage puts it to a model."""

    prompt: Prompt
    messages: Messages


@dataclass(frozen=True)
class MeasuredLengths:
    """The lengths of some chats against their room, in tokens."""

    chats: int
    longest: int
    """Of the chats that were tokenized: at least the one with most text."""
    too_long: tuple[tuple[int, Prompt], ...]
    """Tokens and prompt, longest first; each prompt once."""

    @property
    def named(self) -> str:
        """The longest of those that are too long."""
        shown = ", ".join(
            f"{prompt.named} ({tokens} tokens)" for tokens, prompt in self.too_long[:SHOWN]
        )
        more = len(self.too_long) - SHOWN
        return f"{shown} and {more} more" if more > 0 else shown


def measure(
    speech: ChatFormat, chats: Sequence[Chat], room: int, *, opened: bool
) -> MeasuredLengths:
    """Hold chats against a room; `opened` if they end in the generation prompt."""
    bounds = Bounds(speech, opened)
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
    """Upper bounds on the tokens of chats, from their bytes and from what the template adds to each
    shape of chat."""

    def __init__(self, speech: ChatFormat, opened: bool) -> None:
        self._tokenizer, self._opened = speech.tokenizer, opened
        backend = getattr(speech.tokenizer, "backend_tokenizer", None)
        self._plain = backend is not None and _takes_text_as_it_is(backend.normalizer)
        self._added: dict[Roles, float] = {}

    def of(self, messages: Messages) -> float:
        """Infinite where nothing is known."""
        shape = roles_of(messages)
        if shape not in self._added:
            self._added[shape] = self._of_template(shape) if self._plain else float("inf")
        return self._added[shape] + sum(len(message["content"].encode()) for message in messages)

    def exact(self, messages: Messages) -> int:
        return len(
            self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=self._opened, return_dict=False
            )
        )

    def _of_template(self, shape: Roles) -> float:
        """Bytes that the template adds; infinite for one that does more with what is said than to
        write it once."""
        short = chat_of(shape)
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


def _takes_text_as_it_is(normalizer: Any) -> bool:
    """A normaliser may make many characters of one."""
    return normalizer is None or (isinstance(normalizer, Normalizers) and len(normalizer) == 0)
