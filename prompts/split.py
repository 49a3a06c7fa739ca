"""Training and held-out prompts that share nothing: neither an id nor, up to spelling, a text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from common.errors import BadInput
from common.seeds import derive
from prompts.repeats import Repeat, RepeatKind, content, normalised
from prompts.schema import Prompt


@dataclass(frozen=True)
class Split:
    """The two parts, and what was dropped on the way for what it repeats."""

    training: list[Prompt]
    held_out: list[Prompt]
    repeats: list[Repeat] = field(default_factory=list)

    def dropped(self, fate: RepeatKind) -> Counter[str]:
        """Prompts of this fate, by source."""
        return Counter(repeat.source for repeat in self.repeats if repeat.fate == fate)


def split(sources: Sequence[tuple[Sequence[Prompt], float]], seed: int) -> Split:
    """Hold out a share of each source, in every capability alike, by a draw that depends on `seed`
    and ids only.

    `sources` are (prompts, share to hold out). Prompts with nearly the same text come to the same
    side, or are dropped from training where another source holds that text out. Raises BadInput
    when one id names two prompts, or when a source has nothing left to train on."""
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
    held_texts = {normalised(prompt): prompt for prompt in reversed(held)}
    seen: dict[object, Prompt] = {}
    for number, ((pool, share), ids) in enumerate(zip(pools, chosen, strict=True)):
        before = len(result.training)
        for prompt in pool:
            if prompt.id in ids:
                continue
            same = content(prompt)
            if other := held_texts.get(normalised(prompt)):
                result.repeats.append(Repeat.between(prompt, other, "held_out"))
            elif other := seen.get(same):
                result.repeats.append(Repeat.between(prompt, other, "duplicate"))
            else:
                result.training.append(prompt)
                seen[same] = prompt
        if len(result.training) == before:
            raise _nothing_left(number, sources[number][0], share)
    return result


def _without_repeats(prompts: Sequence[Prompt], repeats: list[Repeat]) -> list[Prompt]:
    kept: dict[object, Prompt] = {}
    for prompt in prompts:
        same = content(prompt)
        if other := kept.get(same):
            repeats.append(Repeat.between(prompt, other, "duplicate"))
        kept.setdefault(same, prompt)
    return list(kept.values())


def _draw(pool: Sequence[Prompt], share: float, seed: int) -> set[str]:
    """Ids to hold out: `share` of every capability, at least one of two, and never all of one.

    What is drawn are texts, each with all prompts that nearly have it; a text belongs to the
    capability of the first of them in the order of the draw."""
    texts: dict[str, list[Prompt]] = {}
    for prompt in pool:
        texts.setdefault(normalised(prompt), []).append(prompt)
    groups: dict[str, list[tuple[tuple[int, str], list[Prompt]]]] = {}
    for alike in texts.values():
        place, capability = min(
            ((derive(seed, "held_out", one.id), one.id), one.capability) for one in alike
        )
        groups.setdefault(capability, []).append((place, alike))
    chosen: set[str] = set()
    for group in groups.values():
        count = min(len(group) - 1, max(1, round(share * len(group)))) if share else 0
        drawn = sorted(group, key=lambda entry: entry[0])[:count]
        chosen.update(prompt.id for _, alike in drawn for prompt in alike)
    return chosen


def _check_ids(prompts: Sequence[Prompt]) -> None:
    known: dict[str, Prompt] = {}
    for prompt in prompts:
        other = known.setdefault(prompt.id, prompt)
        if content(other) != content(prompt):
            raise BadInput(
                f"prompts: id {prompt.id!r} names two different prompts, at {other.place} and"
                f" {prompt.place}",
                "give prompts unique ids, and files of one name another name each",
            )


def _nothing_left(number: int, prompts: Sequence[Prompt], share: float) -> BadInput:
    name = prompts[0].source if prompts else "no prompts"
    return BadInput(
        f"prompts[{number}] ({name}): of {len(prompts)} prompts none is left to train on (held_out:"
        f" {share}); the rest are duplicates or held out by another source",
        "ask for more prompts, another seed or wider settings, or remove the source",
    )
