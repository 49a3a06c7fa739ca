"""Drops prompts longer than their source allows, in tokens of the model that the run trains."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.errors import BadInput
from prompts.schema import Prompt


@dataclass(frozen=True)
class TooLong:
    """A prompt dropped because of its length."""

    id: str
    place: str
    source: str
    capability: str
    tokens: int
    max_prompt_tokens: int


def drop_too_long(
    prompts: Iterable[Prompt], limit: int, length: Callable[[Prompt], int]
) -> tuple[list[Prompt], list[TooLong]]:
    """The prompts of at most `limit` tokens, and the others. Raises BadInput if none is left."""
    kept, dropped = [], []
    for prompt in prompts:
        tokens = length(prompt)
        if tokens <= limit:
            kept.append(prompt)
        else:
            dropped.append(
                TooLong(prompt.id, prompt.place, prompt.source, prompt.capability, tokens, limit)
            )
    if dropped and not kept:
        shortest = min(dropped, key=lambda one: one.tokens)
        raise BadInput(
            f"prompts: all {len(dropped)} prompts of {shortest.source} are longer than"
            f" max_prompt_tokens {limit}; the shortest, at {shortest.place}, has {shortest.tokens}"
            " tokens",
            "raise max_prompt_tokens of the source, or remove the source",
        )
    return kept, dropped
