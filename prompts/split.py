"""Splits prompts into training and held-out ones that share neither an id nor a (nearly) equal
text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from common.errors import BadInput
from common.seeds import derive
from prompts.repeats import Key, Repeat, RepeatKind, content_key, text_key
from prompts.schema import Prompt


@dataclass(frozen=True)
class Split:
    """The two parts, and the prompts that repeat others."""

    training: list[Prompt]
    held_out: list[Prompt]
    repeats: list[Repeat] = field(default_factory=list)

    def dropped(self, kind: RepeatKind) -> Counter[str]:
        """Number of repeats of this kind, by source."""
        return Counter(repeat.source for repeat in self.repeats if repeat.kind == kind)


def split(sources: Sequence[tuple[Sequence[Prompt], float]], seed: int) -> Split:
    """Hold out a share of each capability of each source, drawn by `seed` and the ids alone.

    `sources` are (prompts, share to hold out). Prompts of one source with nearly equal texts are on
    the same side. A training prompt is dropped if another source holds its text out. Raises
    BadInput if one id names two prompts, or if a source has nothing left to train on."""
    result = Split([], [])
    pools = [(_without_repeats(prompts, result.repeats), share) for prompts, share in sources]
    _check_ids([prompt for pool, _ in pools for prompt in pool])
    chosen = [_draw(pool, share, seed) for pool, share in pools]
    held = [
        prompt
        for (pool, _), ids in zip(pools, chosen, strict=True)
        for prompt in pool
        if prompt.id in ids
    ]
    result.held_out.extend(_without_repeats(held, result.repeats))
    held_texts = {text_key(prompt): prompt for prompt in reversed(held)}
    seen: dict[Key, Prompt] = {}
    for number, ((pool, share), ids) in enumerate(zip(pools, chosen, strict=True)):
        before = len(result.training)
        for prompt in pool:
            if prompt.id in ids:
                continue
            key = content_key(prompt)
            if other := held_texts.get(text_key(prompt)):
                result.repeats.append(Repeat.between(prompt, other, "held_out"))
            elif other := seen.get(key):
                result.repeats.append(Repeat.between(prompt, other, "duplicate"))
            else:
                result.training.append(prompt)
                seen[key] = prompt
        if len(result.training) == before:
            raise _nothing_left(number, sources[number][0], share)
    return result


def held_out_ids(prompts: Sequence[Prompt], share: float, seed: int) -> set[str]:
    """Ids of the prompts of one source that `split` holds out."""
    return _draw(_without_repeats(prompts, []), share, seed)


def _without_repeats(prompts: Sequence[Prompt], repeats: list[Repeat]) -> list[Prompt]:
    kept: dict[Key, Prompt] = {}
    for prompt in prompts:
        key = content_key(prompt)
        if other := kept.get(key):
            repeats.append(Repeat.between(prompt, other, "duplicate"))
        kept.setdefault(key, prompt)
    return list(kept.values())


def _draw(pool: Sequence[Prompt], share: float, seed: int) -> set[str]:
    """Ids to hold out: `share` of every capability, at least one text of two, and never all.

    Texts are drawn, each with all prompts whose texts are nearly equal. A text belongs to the
    capability of the first of these in the order of the draw."""
    if not share:
        return set()

    def rank(prompt: Prompt) -> tuple[int, str]:
        return derive(seed, "held_out", prompt.id), prompt.id

    keys = [text_key(prompt) for prompt in pool]
    first: dict[Key, Prompt] = {}
    for key, prompt in zip(keys, pool, strict=True):
        other = first.setdefault(key, prompt)
        if other is not prompt and rank(prompt) < rank(other):
            first[key] = prompt
    groups: dict[str, list[Key]] = {}
    for key, prompt in first.items():
        groups.setdefault(prompt.capability, []).append(key)
    drawn: set[Key] = set()
    for group in groups.values():
        count = min(len(group) - 1, max(1, round(share * len(group))))
        drawn.update(nsmallest(count, group, key=lambda key: rank(first[key])))
    return {prompt.id for key, prompt in zip(keys, pool, strict=True) if key in drawn}


def _check_ids(prompts: Sequence[Prompt]) -> None:
    known: dict[str, Prompt] = {}
    for prompt in prompts:
        other = known.setdefault(prompt.id, prompt)
        if other is not prompt and content_key(other) != content_key(prompt):
            raise BadInput(
                f"prompts: id {prompt.id!r} names two different prompts, at {other.place} and"
                f" {prompt.place}",
                "give prompts unique ids, and files different names",
            )


def _nothing_left(number: int, prompts: Sequence[Prompt], share: float) -> BadInput:
    name = prompts[0].source if prompts else "no prompts"
    return BadInput(
        f"prompts[{number}] ({name}): of {len(prompts)} prompts none is left to train on (held_out:"
        f" {share}); the rest are duplicates or held out by another source",
        "ask for more prompts, another seed or wider settings, or remove the source",
    )
