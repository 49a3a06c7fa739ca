"""Which prompts say what another one says, in three degrees.

- *the same*: equal messages, answer and verifier. Only how Unicode writes a letter, how a line ends
  and the space around a text are evened out; case, quotes and raised digits can change a task (`2⁵`
  is not `25`). One of them is enough.
- *contradicting*: equal messages, and a verifier that takes each one's reference for wrong by the
  other's.
- *near*: equal texts once case, spacing, quotes, closing marks, raised digits and the system
  message are evened out. They may be different tasks, so all are kept, but whoever has learnt one
  has seen the other."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from prompts.schema import Prompt

_QUOTES = re.compile(r"[\"'`“”‘’„«»]")
_SENTENCE_MARKS = re.compile(r"[.,;:?]+(?=\s|$)|(?<=[^\W\d_])!+(?=\s|$)")

RepeatKind = Literal["duplicate", "held_out", "contradicts"]
MessagesKey = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Repeat:
    """A prompt and the one whose words it repeats."""

    id: str
    place: str
    source: str
    capability: str
    fate: RepeatKind
    """`duplicate`: dropped, as it is there already; `held_out`: dropped from training, as its words
    are held out elsewhere; `contradicts`: kept, with a reference answer that differs from the
    other's."""
    answer: str
    of: str
    """Id of the other prompt."""
    of_place: str
    of_answer: str

    @classmethod
    def between(cls, prompt: Prompt, other: Prompt, fate: RepeatKind) -> "Repeat":
        asked = prompt.id, prompt.place, prompt.source, prompt.capability
        return cls(*asked, fate, prompt.answer, other.id, other.place, other.answer)


def normalised(prompt: Prompt) -> str:
    """The prompt's text without case, spacing, quotes and marks that end a clause; system messages
    do not count.

    Operators, signs, brackets and decimal points stay: `5 + 3` and `5 - 3` are different tasks.
    """
    spoken = "\n".join(
        message["content"] for message in prompt.messages if message["role"] != "system"
    )
    text = _QUOTES.sub("", unicodedata.normalize("NFKC", spoken).casefold())
    return " ".join(_SENTENCE_MARKS.sub(" ", text).split()) or _plain(spoken)


def asked(prompt: Prompt) -> MessagesKey:
    """The messages, the same for prompts that ask the very same."""
    return tuple((message["role"], _plain(message["content"])) for message in prompt.messages)


def content(prompt: Prompt) -> tuple[MessagesKey, str, str]:
    """What makes a prompt this prompt: two of the same content are one."""
    return asked(prompt), _plain(prompt.answer), prompt.verifier


def contradictions(
    prompts: Iterable[Prompt], accepts: Callable[[Prompt, str], bool]
) -> list[Repeat]:
    """Prompts of one verifier that ask the very same as an earlier one and whose references exclude
    each other.

    `accepts` says whether a prompt's verifier takes an answer for right: `51` and `51.0` need not
    be at odds."""
    first: dict[tuple[MessagesKey, str], Prompt] = {}
    found = []
    for prompt in prompts:
        other = first.setdefault((asked(prompt), prompt.verifier), prompt)
        agree = other is prompt or (accepts(prompt, other.answer) and accepts(other, prompt.answer))
        if not agree:
            found.append(Repeat.between(prompt, other, "contradicts"))
    return found


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()
