"""Which tokens of a chat the assistant writes: what training puts the loss on.

A turn is what the template writes after its generation prompt: the answer and the mark that ends
it. It is found by rendering the chat up to the turn and through it, so it needs nothing of a
template but that a message looks the same whatever follows. A template without that property (one
that drops the thinking of earlier answers, say) can mark the turns with `{% generation %}`; of one
that does neither, chats with earlier turns of the assistant are refused."""

import re
from collections.abc import Sequence
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from common.errors import BadInput
from models.chat import Messages, encode_chat
from models.probes import OTHER

_GENERATION = re.compile(r"{%-?\s*generation\s*-?%}")
SHOWN = 40
"""Characters of a rendered chat that a message shows."""


def encode_last_turn(
    tokenizer: PreTrainedTokenizerBase, messages: Messages
) -> tuple[list[int], list[bool]]:
    """Token ids of a chat that ends with the assistant's turn, and which of them are of it."""
    ids = _encoded(tokenizer, messages)
    start = _common(encode_chat(tokenizer, messages[:-1]), ids)
    return ids, [place >= start for place in range(len(ids))]


def encode_turns(
    tokenizer: PreTrainedTokenizerBase, messages: Messages
) -> tuple[list[int], list[bool]]:
    """Token ids of a chat that ends with the assistant's turn, and which of them are any of the
    assistant's turns.

    BadInput if the template can neither be cut at the turns nor marks them."""
    reason = uncut(tokenizer, messages)
    if reason is None:
        return _cut(tokenizer, messages)
    if not marks_turns(tokenizer):
        raise BadInput(reason, f"{OTHER}, one that can be cut or that has {{% generation %}}")
    return _marked(tokenizer, messages)


def marks_turns(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template says itself where the assistant's turns are."""
    template = tokenizer.chat_template
    return isinstance(template, str) and _GENERATION.search(template) is not None


def uncut(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str | None:
    """Why the template cannot be cut at the assistant's turns of a chat; None if it can."""
    whole = _rendered(tokenizer, messages, opened=False)
    for place in _turns(messages):
        for count, opened in ((place, True), (place + 1, False)):
            text = _rendered(tokenizer, messages[:count], opened=opened)
            if not whole.startswith(text):
                alike = len(_alike(text, whole))
                return (
                    f"the chat template cannot be cut at message {place + 1}, the assistant's: the"
                    f" chat of {count} messages has {text[alike : alike + SHOWN]!r} where the whole"
                    f" one has {whole[alike : alike + SHOWN]!r}"
                )
    return None


def _cut(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[list[int], list[bool]]:
    ids = _encoded(tokenizer, messages)
    mask = [False] * len(ids)
    for place in _turns(messages):
        start = _common(encode_chat(tokenizer, messages[:place]), ids)
        last = place == len(messages) - 1
        end = len(ids) if last else _common(_encoded(tokenizer, messages[: place + 1]), ids)
        mask[start:end] = [True] * (end - start)
    return ids, mask


def _marked(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> tuple[list[int], list[bool]]:
    """By the template's `{% generation %}`."""
    try:
        encoded = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True
        )
    except ValueError as error:  # `models/chat.py`: control words in a message
        raise BadInput(f"the assistant's turns cannot be marked: {error}", OTHER) from error
    return list(encoded["input_ids"]), [bool(one) for one in encoded["assistant_masks"]]


def _turns(messages: Messages) -> list[int]:
    return [place for place, message in enumerate(messages) if message["role"] == "assistant"]


def _encoded(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    ids: list[int] = tokenizer.apply_chat_template(messages, return_dict=False)
    return ids


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, opened: bool) -> str:
    text: str = tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=opened
    )
    return text


def _common(ids: Sequence[int], others: Sequence[int]) -> int:
    """Tokens that two sequences begin with; fewer than `ids` where a token reaches over its end."""
    return len(_alike(ids, others))


def _alike(one: Sequence[object], other: Sequence[object]) -> list[object]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return [item for item, _ in same]
