"""Which prompts are the easiest, which are broken: pure ranking of verdicts, an exact share taken
off.

A prompt without a verdict is neither easy nor hard: it is set aside as `unjudged`. One whose
attempts agree on another answer than the reference is set aside as `broken`. Both take no part in
the ranking; the share is of the others."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from common.errors import BadInput, RunFailed
from common.quotas import apportion
from common.seeds import derive
from judges.verdict import Verdict

Fate = Literal["kept", "dropped", "unjudged", "broken"]
BROKEN_ATTEMPTS = 4
"""Graded attempts without which no prompt is called broken."""


@dataclass(frozen=True, slots=True)
class JudgedPrompt:
    """What the judges together say of one prompt."""

    id: str
    capability: str
    ease: float | None
    """0 to 1, comparable between prompts; None: nobody could say."""
    likelihood: float | None
    """Mean log-probability of the reference answer's tokens, where it was asked for to break a
    tie."""
    said: str
    """In words."""
    evidence: dict[str, int] = field(default_factory=dict)
    """Of a broken prompt: the answers given and how often."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one prompt, and why."""

    id: str
    capability: str
    decision: Fate
    rank: int | None
    """Place among the judged prompts that it competes with, 1 = easiest; None: set aside."""
    ease: float | None
    likelihood: float | None
    reason: str
    evidence: dict[str, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """How to cut."""

    share: float
    stratified: bool
    """Whether every capability loses the same share, or the easiest of all go, whatever they
    are."""
    floor: int
    """Prompts that every capability keeps."""
    seed: int
    """Decides between equals."""


def cut_easiest(judged_prompts: Sequence[JudgedPrompt], cut: Cut) -> dict[str, Decision]:
    """What becomes of every prompt, by id. Of n judged prompts exactly floor(share n + 1/2) are
    dropped.

    Easier is: a higher ease; at the same, a higher likelihood of the reference answer (unknown ones
    count as hardest); then the seed decides. The order of `judged_prompts` changes nothing. Raises
    BadInput if the share leaves a capability with fewer prompts than the floor, RunFailed if none
    of one could be judged."""
    if len({opinion.id for opinion in judged_prompts}) != len(judged_prompts):
        raise ValueError("two opinions on one prompt")
    ranked = ranking(judged_prompts, cut)
    _require_all_judged(judged_prompts, ranked)
    sizes = {name: len(members) for name, members in _by_capability(ranked).items()}
    drops = drop_counts(sizes, cut)
    total = sum(drops.values())
    decisions = {}
    places, left = Counter[str](), {name: size - cut.floor for name, size in sizes.items()}
    for opinion in ranked:
        name = opinion.capability if cut.stratified else "all"
        places[name] += 1
        if cut.stratified:
            dropped = places[name] <= drops[name]
        else:
            dropped = total > 0 and left[opinion.capability] > 0
            total, left[opinion.capability] = total - dropped, left[opinion.capability] - dropped
        count = sizes[name] if cut.stratified else len(ranked)
        decisions[opinion.id] = _judged(opinion, places[name], count, name, dropped)
    aside = [opinion for opinion in judged_prompts if opinion.id not in decisions]
    return decisions | {
        opinion.id: _aside(opinion) for opinion in sorted(aside, key=lambda opinion: opinion.id)
    }


def ranking(judged_prompts: Sequence[JudgedPrompt], cut: Cut) -> list[JudgedPrompt]:
    """The judged prompts, easiest first."""

    def key(opinion: JudgedPrompt) -> tuple[float, float, int, str]:
        likelihood = float("-inf") if opinion.likelihood is None else opinion.likelihood
        return -(opinion.ease or 0.0), -likelihood, derive(cut.seed, opinion.id), opinion.id

    return sorted((o for o in judged_prompts if o.ease is not None and not o.evidence), key=key)


def tied_at_the_cut(judged_prompts: Sequence[JudgedPrompt], cut: Cut) -> list[str]:
    """Prompts of equal ease of which some are dropped and some are not: only there a further
    question can matter."""
    decisions = cut_easiest(judged_prompts, cut)
    fates: dict[tuple[str, float], set[str]] = {}
    for decision in decisions.values():
        if decision.rank is not None and decision.ease is not None:
            name = decision.capability if cut.stratified else ""
            fates.setdefault((name, decision.ease), set()).add(decision.decision)
    return [
        decision.id
        for decision in decisions.values()
        if decision.ease is not None
        and len(fates.get((decision.capability if cut.stratified else "", decision.ease), ())) > 1
    ]


def drop_counts(sizes: Mapping[str, int], cut: Cut) -> dict[str, int]:
    """How many prompts each capability loses: floor(share n + 1/2) in all. BadInput if one would go
    below the floor.

    Without stratification the total alone counts.
    """
    # The share as it is written: 0.145 of 100 is 14.5, though the float nearest to 0.145 lies
    # below.
    total = int(Fraction(repr(cut.share)) * sum(sizes.values()) + Fraction(1, 2))
    capacity = {capability: max(size - cut.floor, 0) for capability, size in sizes.items()}
    small = {name: size for name, size in sizes.items() if size < cut.floor}
    if small or total > sum(capacity.values()):
        found = ", ".join(f"{name}: {size}" for name, size in sorted((small or sizes).items()))
        raise BadInput(
            f"drop_easiest {cut.share} drops {total} of {sum(sizes.values())} prompts, and each of"
            f" {len(sizes)} capabilities must keep {cut.floor} ({found})",
            "lower drop_easiest or keep_at_least, or give the small capabilities more prompts",
        )
    return apportion(total, sizes, capacity)


def broken(verdicts: Sequence[Verdict], share: float) -> dict[str, int]:
    """The answers that speak against a prompt's reference: empty unless nobody got it right and
    `share` of at least BROKEN_ATTEMPTS graded attempts give one and the same other answer."""
    attempts = [
        reply for verdict in verdicts if verdict.kind == "attempts" for reply in verdict.replies
    ]
    graded = [reply for reply in attempts if reply.fault is None]
    if len(graded) < BROKEN_ATTEMPTS or any(reply.value == 1.0 for reply in graded):
        return {}
    answers = Counter((reply.answer or "").strip().casefold() for reply in graded)
    most = answers.most_common(1)[0][1]
    return (
        dict(sorted(answers.items(), key=lambda item: (-item[1], item[0])))
        if most >= share * len(graded)
        else {}
    )


def _by_capability(judged_prompts: Sequence[JudgedPrompt]) -> dict[str, list[JudgedPrompt]]:
    found: dict[str, list[JudgedPrompt]] = {}
    for opinion in judged_prompts:
        found.setdefault(opinion.capability, []).append(opinion)
    return found


def _require_all_judged(
    judged_prompts: Sequence[JudgedPrompt], ranked: Sequence[JudgedPrompt]
) -> None:
    for capability in sorted(
        {o.capability for o in judged_prompts} - {o.capability for o in ranked}
    ):
        mine = [opinion for opinion in judged_prompts if opinion.capability == capability]
        wrong = sum(bool(opinion.evidence) for opinion in mine)
        raise RunFailed(
            f"no prompt of capability {capability!r} could be judged: {wrong} of {len(mine)} look"
            " broken (attempts agree on another answer than the reference);"
            f" {'; '.join(sorted({opinion.said for opinion in mine})[:3])}",
            (
                "check its reference answers and its verifier, or leave the capability out"
                if 2 * wrong >= len(mine)
                else (
                    "raise the judge's max_tokens where answers are cut_off, look at the verifier"
                    " where it crashes and at the length of the prompts; or leave the"
                    " capability out"
                )
            ),
        )


def _judged(opinion: JudgedPrompt, rank: int, count: int, among: str, dropped: bool) -> Decision:
    reason = (
        f"{'easy' if dropped else 'hard'}: place {rank} of {count} in {among}, easiest first"
        f" ({opinion.said})"
    )
    fate: Fate = "dropped" if dropped else "kept"
    return Decision(
        opinion.id, opinion.capability, fate, rank, opinion.ease, opinion.likelihood, reason, {}
    )


def _aside(opinion: JudgedPrompt) -> Decision:
    fate: Fate = "broken" if opinion.evidence else "unjudged"
    reason = f"{fate}: {opinion.said}"
    if opinion.evidence:
        given = ", ".join(
            f"{answer!r:.60} {count} times" for answer, count in list(opinion.evidence.items())[:3]
        )
        reason = f"broken: no attempt is right and they agree on another answer ({given})"
    evidence = opinion.evidence
    return Decision(
        opinion.id,
        opinion.capability,
        fate,
        None,
        opinion.ease,
        opinion.likelihood,
        reason,
        evidence,
    )
