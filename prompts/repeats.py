"""Prompts that repeat another one, in three degrees.

- *duplicate*: equal messages, answer and verifier. Only Unicode's form of a letter, line endings
  and surrounding space are ignored. Case, quotes and superscripts can change a task (`2⁵` is not
  `25`). One of them is kept.
- *contradicting*: equal messages, and a verifier that rejects one's reference answer for the other.
- *nearly equal*: equal texts when case, spacing, quotes, closing marks, superscripts and the system
  message are ignored. They may be different tasks, so all are kept, but training on one leaks the
  other."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from prompts.schema import Prompt

_QUOTES = re.compile(r"[\"'`“”‘’„«»]")
_SENTENCE_MARKS = re.compile(r"[.,;:?]+(?=\s|$)|(?<=[^\W\d_])!+(?=\s|$)")

RepeatKind = Literal["duplicate", "held_out", "contradicts"]
Key = bytes
"""A digest of 16 bytes in place of a text: a million texts would not fit into memory twice."""


@dataclass(frozen=True)
class Repeat:
    """A prompt and the one that it repeats."""

    id: str
    place: str
    source: str
    capability: str
    kind: RepeatKind
    """`duplicate`: dropped, as it exists already; `held_out`: dropped from training, as another
    source holds its text out; `contradicts`: kept, with a reference answer that differs from the
    other's."""
    answer: str
    of: str
    """Id of the other prompt."""
    of_place: str
    of_answer: str

    @classmethod
    def between(cls, prompt: Prompt, other: Prompt, kind: RepeatKind) -> "Repeat":
        return cls(
            id=prompt.id,
            place=prompt.place,
            source=prompt.source,
            capability=prompt.capability,
            kind=kind,
            answer=prompt.answer,
            of=other.id,
            of_place=other.place,
            of_answer=other.answer,
        )


def normalised(prompt: Prompt) -> str:
    """The prompt's text without case, spacing, quotes and marks that end a clause, and without
    system messages.

    Operators, signs, brackets and decimal points stay: `5 + 3` and `5 - 3` are different tasks.
    """
    joined = "\n".join(
        message["content"] for message in prompt.messages if message["role"] != "system"
    )
    text = _QUOTES.sub("", unicodedata.normalize("NFKC", joined).casefold())
    return " ".join(_SENTENCE_MARKS.sub(" ", text).split()) or _plain(joined)


def text_key(prompt: Prompt) -> Key:
    """Equal for prompts whose texts are equal after `normalised`."""
    return _digest(normalised(prompt))


def content_key(prompt: Prompt) -> Key:
    """Of messages, answer, verifier and the reward's parts: two prompts with an equal key are
    duplicates."""
    parts = json.dumps(prompt.rewards, sort_keys=True)
    return _digest(*_messages(prompt), _plain(prompt.answer), prompt.verifier, parts)


def contradictions(
    prompts: Iterable[Prompt], accepts: Callable[[Prompt, str], bool]
) -> list[Repeat]:
    """Prompts with the messages and verifier of an earlier one whose references exclude each other.

    `accepts` says whether a prompt's verifier accepts an answer: `51` and `51.0` may both be
    right."""
    first: dict[Key, Prompt] = {}
    repeats = []
    for prompt in prompts:
        other = first.setdefault(_digest(*_messages(prompt), prompt.verifier), prompt)
        agree = other is prompt or (accepts(prompt, other.answer) and accepts(other, prompt.answer))
        if not agree:
            repeats.append(Repeat.between(prompt, other, "contradicts"))
    return repeats


def _messages(prompt: Prompt) -> list[str]:
    """Roles and texts, equal for prompts with equal messages."""
    pairs = ((message["role"], _plain(message["content"])) for message in prompt.messages)
    return [part for pair in pairs for part in pair]


def _digest(*texts: str) -> Key:
    # Lengths, so that no text can run into the next one.
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()
