"""Prompts that a model has no room for are refused before anything is trained or sampled, by
name."""

from collections.abc import Mapping

from common.errors import BadInput


def require_room(lengths: Mapping[str, int], room: int, what: str, remedy: str) -> None:
    """BadInput naming the longest prompts (tokens by `Prompt.named`) if any is longer than `room`
    tokens."""
    long = sorted(
        ((tokens, name) for name, tokens in lengths.items() if tokens > room), reverse=True
    )
    if long:
        named = ", ".join(f"{name}: {tokens} tokens" for tokens, name in long[:3])
        more = f" and {len(long) - 3} more" if len(long) > 3 else ""
        raise BadInput(f"prompts longer than {what} of {room} tokens: {named}{more}", remedy)
