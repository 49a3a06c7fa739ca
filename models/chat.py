"""Chats as token ids in which only the template makes control tokens: what a person wrote stays
text.

A tokenizer turns `<|im_end|>` inside a message into the token that ends the message, so whoever
writes a prompt could write a system message or an answer into it. Here such text is tokenized as
the characters that it is. Messages without such text give the very same ids as the tokenizer alone.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

from common.thinking import MARKS, opened_by

Messages = Sequence[dict[str, Any]]
OPEN, CLOSE = "\ue000", "\ue001"
"""Private-use characters around a quoted control word's number while the template is rendered."""
LAST_TOKENS = 16
"""Tokens at a prompt's end that may hold an opening mark."""
_THINKING = {mark.lower() for mark in MARKS}


def guard(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Have the tokenizer's `apply_chat_template` keep control words of messages as text; for this
    tokenizer only."""
    tokenizer.apply_chat_template = partial(_apply, tokenizer)
    return tokenizer


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids of a chat that ends where the assistant's answer begins: what every engine is
    asked."""
    ids: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    return ids


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of `text` alone: no special tokens added, none read out of it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def with_thinking_marks(
    tokenizer: Any, prompt: Sequence[int], ids: Sequence[int], text: str
) -> str:
    """`text`, decoded from `ids`, with the marks around its thinking that decoding alone would
    lose.

    A template may write the opening mark into the prompt, and a tokenizer may hold the marks for
    control tokens, which are left out of the text: then thinking could not be told from the answer.
    """
    special = {token for token in tokenizer.all_special_tokens if token.lower() in _THINKING}
    if special and special & set(tokenizer.convert_ids_to_tokens(list(ids))):
        kept = [
            id
            for id in ids
            if id not in tokenizer.all_special_ids or tokenizer.convert_ids_to_tokens(id) in special
        ]
        text = tokenizer.decode(kept, skip_special_tokens=False)
    return opened_by(tokenizer.decode(list(prompt[-LAST_TOKENS:]))) + text


def _apply(
    tokenizer: PreTrainedTokenizerBase, conversation: Any, tokenize: bool = True, **options: Any
) -> Any:
    """`apply_chat_template` of the tokenizer's class, but for control words inside of messages."""
    render = partial(type(tokenizer).apply_chat_template, tokenizer)
    words = _control_words(tokenizer)
    if not tokenize or not any(words.search(text) for text in _texts(conversation)):
        return render(conversation, tokenize=tokenize, **options)
    as_dict = options.pop("return_dict", True)
    if options.pop("return_assistant_tokens_mask", False) or options.pop("return_tensors", None):
        raise ValueError("a chat with control words in its messages gives token ids only")
    quoted, found = _quoted(conversation, words)
    text = render(quoted, tokenize=False, **options)
    ids: list[int] = []
    for piece in re.split(f"({OPEN}\\d+{CLOSE})", text):
        if piece.startswith(OPEN) and piece.endswith(CLOSE):
            ids += encode_text(tokenizer, found[int(piece[1:-1])])
        elif piece:
            ids += tokenizer(piece, add_special_tokens=False)["input_ids"]
    return BatchEncoding({"input_ids": ids, "attention_mask": [1] * len(ids)}) if as_dict else ids


def _control_words(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """What the tokenizer would read as one token of its own, and our own quotation marks."""
    words = sorted(
        (str(token) for token in tokenizer.added_tokens_decoder.values()), key=len, reverse=True
    )
    return re.compile("|".join(map(re.escape, [*words, OPEN, CLOSE])))


def _texts(conversation: Messages) -> list[str]:
    return [
        message["content"] for message in conversation if isinstance(message.get("content"), str)
    ]


def _quoted(
    conversation: Messages, words: re.Pattern[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """The conversation with a mark in place of each control word, and the words."""
    found: list[str] = []

    def mark(match: re.Match[str]) -> str:
        found.append(match.group())
        return f"{OPEN}{len(found) - 1}{CLOSE}"

    changed = []
    for message in conversation:
        content = message.get("content")
        changed.append(
            {**message, "content": words.sub(mark, content)}
            if isinstance(content, str)
            else message
        )
    return changed, found
