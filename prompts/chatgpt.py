"""The conversations of a ChatGPT data export: each is a tree of messages, of which the last shown
branch is read."""

from collections.abc import Mapping
from typing import Any

from prompts.bad_rows import BadRow
from prompts.conversations import shown


def is_export(row: Mapping[str, Any]) -> bool:
    """Whether a row is a conversation of such an export."""
    return isinstance(row.get("mapping"), Mapping) and "current_node" in row


def exported_turns(where: str, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns from the first to `current_node`, with `role` and `content`. Messages that the
    product hides are left out. Raises BadRow for a broken tree and for content that is no text."""
    nodes, name = row["mapping"], row["current_node"]
    turns: list[dict[str, Any]] = []
    seen = set[str]()
    while name is not None:
        node = nodes.get(name) if isinstance(name, str) and name not in seen else None
        if not isinstance(node, Mapping):
            remedy = "export the conversation again"
            raise BadRow(where, f"mapping has no way to the node {name!r}", remedy)
        seen.add(name)
        turn = _turn(where, node.get("message"))
        turns += [turn] if turn else []
        name = node.get("parent")
    return turns[::-1]


def _turn(where: str, message: Any) -> dict[str, Any] | None:
    """None for a node without a message, a hidden message, and an empty one of the system."""
    if not message:
        return None
    try:
        role, content = message["author"]["role"], message.get("content") or {}
        hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
        kind, parts = content.get("content_type"), list(content.get("parts") or [])
    except (AttributeError, KeyError, TypeError):
        remedy = "export the conversation again"
        raise BadRow(where, "is no message", remedy, detail=f": {shown(message)}") from None
    if hidden:
        return None
    if message.get("recipient", "all") != "all":
        role = "tool"  # a message of the assistant to a tool
    if role == "system" and not any(parts):
        return None
    if role != "tool" and (kind != "text" or not all(isinstance(part, str) for part in parts)):
        raise BadRow(
            where,
            f"has content of type {kind}, and only text is read",
            "remove conversations with images, files or code that was run",
            detail=f": {shown(content)}",
        )
    return {"role": role, "content": "".join(part for part in parts if isinstance(part, str))}
