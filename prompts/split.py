"""Training and held-out prompts that share nothing: neither an id nor, up to spelling, a text."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import BadInput
from common.seeds import derive
from prompts.schema import Prompt

_QUOTES = re.compile(r"[\"'`“”‘’„«»]")
_SENTENCE_MARKS = re.compile(r"[.,;:?]+(?=\s|$)|(?<=[^\W\d_])!+(?=\s|$)")


@dataclass(frozen=True)
class Split:
    """The two parts, and how many prompts of each source were dropped on the way."""

    training: list[Prompt]
    held_out: list[Prompt]
    duplicates: Counter[str] = field(default_factory=Counter)
    """By source: prompts whose text was there already."""
    overlaps: Counter[str] = field(default_factory=Counter)
    """By source: training prompts whose id or text is held out elsewhere."""


def normalised(prompt: Prompt) -> str:
    """The prompt's text without case, spacing, quotes and marks that end a clause; system messages do not count.

    Operators, signs, brackets and decimal points stay: `5 + 3` and `5 - 3` are different tasks.
    """
    spoken = "\n".join(message["content"] for message in prompt.messages if message["role"] != "system")
    text = _QUOTES.sub("", unicodedata.normalize("NFKC", spoken).casefold())
    return " ".join(_SENTENCE_MARKS.sub(" ", text).split()) or spoken


def split(sources: Sequence[tuple[Sequence[Prompt], float]], seed: int) -> Split:
    """Hold out a share of each source, in every capability alike, by a draw that depends on `seed` and ids only.

    `sources` are (prompts, share to hold out). Raises BadInput when one id names two texts, or when a source has
    nothing left to train on.
    """
    result = Split([], [])
    pools = [(_without_repeats(prompts, result.duplicates), share) for prompts, share in sources]
    _check_ids([prompt for pool, _ in pools for prompt in pool])
    chosen = [_draw(pool, share, seed) for pool, share in pools]
    held = [prompt for (pool, _), ids in zip(pools, chosen, strict=True) for prompt in pool if prompt.id in ids]
    result.held_out.extend(_without_repeats(held, result.duplicates))
    held_ids, held_texts = {prompt.id for prompt in held}, {normalised(prompt) for prompt in held}
    seen: set[str] = set()
    for number, ((pool, share), ids) in enumerate(zip(pools, chosen, strict=True)):
        before = len(result.training)
        for prompt in pool:
            text = normalised(prompt)
            if prompt.id in ids:
                continue
            if prompt.id in held_ids or text in held_texts:
                result.overlaps[prompt.source] += 1
            elif text in seen:
                result.duplicates[prompt.source] += 1
            else:
                result.training.append(prompt)
                seen.add(text)
        if len(result.training) == before:
            raise _nothing_left(number, sources[number][0], share)
    return result


def _without_repeats(prompts: Sequence[Prompt], duplicates: Counter[str]) -> list[Prompt]:
    kept: dict[str, Prompt] = {}
    for prompt in prompts:
        text = normalised(prompt)
        duplicates[prompt.source] += text in kept
        kept.setdefault(text, prompt)
    return list(kept.values())


def _draw(pool: Sequence[Prompt], share: float, seed: int) -> set[str]:
    """Ids to hold out: `share` of every capability, at least one of two, and never all of one."""
    groups: dict[str, list[str]] = {}
    for prompt in pool:
        groups.setdefault(prompt.capability, []).append(prompt.id)
    chosen: set[str] = set()
    for ids in groups.values():
        count = min(len(ids) - 1, max(1, round(share * len(ids)))) if share else 0
        chosen.update(sorted(ids, key=lambda name: (derive(seed, "held_out", name), name))[:count])
    return chosen


def _check_ids(prompts: Sequence[Prompt]) -> None:
    texts: dict[str, str] = {}
    for prompt in prompts:
        if texts.setdefault(prompt.id, normalised(prompt)) != normalised(prompt):
            raise BadInput(f"prompts: id {prompt.id!r} names two different prompts", "give prompts unique ids")


def _nothing_left(number: int, prompts: Sequence[Prompt], share: float) -> BadInput:
    name = prompts[0].source if prompts else "no prompts"
    return BadInput(
        f"prompts[{number}] ({name}): of {len(prompts)} prompts none is left to train on (held_out: {share}); "
        "the rest are duplicates or held out by another source",
        "ask for more prompts, another seed or wider settings, or remove the source",
    )
