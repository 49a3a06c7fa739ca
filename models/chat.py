"""Chats as token ids in which only the template makes control tokens; the text of messages never
does.

A tokenizer turns `<|im_end|>` inside a message into the token that ends the message, so a prompt
could contain a system message or an answer. Here such text is tokenized as ordinary characters.
Messages without such text give the same ids as the tokenizer alone.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase

from common.thinking import MARKS, opened_by

Messages = Sequence[dict[str, Any]]
OPEN, CLOSE = "\ue000", "\ue001"
"""Private-use characters around a replaced control word's number while the template is rendered."""
LAST_TOKENS = 16
"""Tokens at a prompt's end that may contain an opening mark."""
_THINKING = {mark.lower() for mark in MARKS}


def guard(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Make this tokenizer's `apply_chat_template` keep control words in messages as text."""
    tokenizer.apply_chat_template = partial(_apply, tokenizer)
    return tokenizer


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """Token ids of a chat that ends where the assistant's answer begins, as every engine gets
    them."""
    ids: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )
    return ids


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of `text`, without added special tokens and without any recognised in it."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)[
        "input_ids"
    ]
    return ids


def with_thinking_marks(
    tokenizer: Any, prompt: Sequence[int], ids: Sequence[int], text: str
) -> str:
    """`text`, decoded from `ids`, with the marks around its thinking that decoding alone loses.

    A template may write the opening mark into the prompt, and the marks may be special tokens,
    which decoding drops. Thinking could then not be separated from the answer.
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
    """`apply_chat_template` of the tokenizer's class, except for control words inside messages."""
    render = partial(type(tokenizer).apply_chat_template, tokenizer)
    words = _control_words(tokenizer)
    if not tokenize or not any(words.search(text) for text in _texts(conversation)):
        return render(conversation, tokenize=tokenize, **options)
    as_dict = options.pop("return_dict", True)
    if options.pop("return_assistant_tokens_mask", False) or options.pop("return_tensors", None):
        raise ValueError("a chat with control words in its messages gives token ids only")
    quoted, control_words = _quoted(conversation, words)
    text = render(quoted, tokenize=False, **options)
    ids: list[int] = []
    for piece in re.split(f"({OPEN}\\d+{CLOSE})", text):
        if piece.startswith(OPEN) and piece.endswith(CLOSE):
            ids += encode_text(tokenizer, control_words[int(piece[1:-1])])
        elif piece:
            ids += tokenizer(piece, add_special_tokens=False)["input_ids"]
    return BatchEncoding({"input_ids": ids, "attention_mask": [1] * len(ids)}) if as_dict else ids


def _control_words(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Text that the tokenizer would read as a control token, and our own quotation marks."""
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
    control_words: list[str] = []

    def mark(match: re.Match[str]) -> str:
        control_words.append(match.group())
        return f"{OPEN}{len(control_words) - 1}{CLOSE}"

    changed = []
    for message in conversation:
        content = message.get("content")
        changed.append(
            {**message, "content": words.sub(mark, content)}
            if isinstance(content, str)
            else message
        )
    return changed, control_words
