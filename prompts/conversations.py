"""Conversations as chat exports hold them: lists of turns with `role` and `content` (OpenAI) or
`from` and `value` (ShareGPT)."""

import json
from collections.abc import Mapping
from typing import Any

from prompts.bad_rows import BadRow

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
"""The names that exports give to the roles of a chat."""
TOOLS = ("tool", "function", "function_call", "observation", "tool_call", "tool_response")
_CALLS = ("tool_calls", "function_call", "tool_call_id")
_EXAMPLE = '"messages": [{"role": "user", "content": "What is 2 + 3?"}]'
_NO_TOOLS = "remove the rows with tools: templates of tools differ by model and are not read"


def conversation(where: str, value: Any, field: str = "messages") -> list[dict[str, str]]:
    """The turns of a conversation as chat messages with `role` and `content`. A text is read as
    JSON; blank system messages are left out. Raises BadRow for anything else, for tools, and for
    content that is no text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = str(value)
    if not isinstance(value, list):
        raise _wrong(where, field, "a list of messages", value)
    turns = [_turn(where, turn, f"{field}.{number}") for number, turn in enumerate(value)]
    return [turn for turn in turns if turn["role"] != "system" or turn["content"].strip()]


def _turn(where: str, turn: Any, field: str) -> dict[str, str]:
    if not isinstance(turn, Mapping):
        raise _wrong(where, field, "an object with role and content", turn)
    # In parquet every turn has the columns of all turns, some of them empty.
    sharegpt = turn.get("from") is not None
    role_key, content_key = ("from", "value") if sharegpt else ("role", "content")
    for name in _CALLS:
        if turn.get(name):
            raise BadRow(where, f"has `{name}`, a turn with tools", _NO_TOOLS, field=field)
    role = turn.get(role_key)
    if role in TOOLS:
        raise BadRow(where, f"is a turn of a {role}, a turn with tools", _NO_TOOLS, field=field)
    if not isinstance(role, str) or role not in ROLES:
        raise _wrong(where, f"{field}.{role_key}", "system, user or assistant", role)
    content = _content(where, turn.get(content_key), f"{field}.{content_key}")
    return {"role": ROLES[role], "content": content}


def _content(where: str, content: Any, field: str) -> str:
    """A text, or the joined parts of a list of text parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _wrong(where, field, "a text", content)
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get("text") if isinstance(part, Mapping) else part
        if kind not in (None, "text", "input_text", "output_text") or not isinstance(text, str):
            raise BadRow(
                where,
                f"has a part of type {kind}, and only text is read",
                "remove the rows with images, audio or files",
                field=field,
            )
        texts.append(text)
    return "".join(texts)


def _wrong(where: str, field: str, allowed: str, value: Any) -> BadRow:
    return BadRow(
        where,
        f"must be {allowed}",
        f"write it as {_EXAMPLE}",
        field=field,
        detail=f", got {shown(value)}",
    )


def shown(value: Any) -> str:
    """The value as JSON, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
