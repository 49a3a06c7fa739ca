"""Rank judged prompts by ease and drop an exact share, easiest first. A pure function of verdicts.

A prompt without a verdict is neither easy nor hard: it is set aside as `unjudged`. A prompt whose
attempts agree on an answer other than the reference is set aside as `broken`. Neither is ranked,
and the share is of the remaining prompts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from typing import Literal

from common.errors import BadInput, RunFailed
from common.quotas import apportion
from common.seeds import derive
from judges.verdict import Reply, Verdict

Outcome = Literal["kept", "dropped", "unjudged", "broken"]
BROKEN_ATTEMPTS = 4
"""Fewest graded attempts with which a prompt can be called broken."""


@dataclass(frozen=True, slots=True)
class JudgedPrompt:
    """The combined judgement of all judges on one prompt."""

    id: str
    capability: str
    ease: float | None
    """0 to 1, comparable between prompts; None: no judge could tell."""
    likelihood: float | None
    """Mean log-probability of the reference answer's tokens, if it was measured to break a tie."""
    description: str
    """The verdicts in words."""
    evidence: dict[str, int] = field(default_factory=dict)
    """Of a broken prompt: how often each answer was given."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The filter's decision on one prompt, with the reason."""

    id: str
    capability: str
    decision: Outcome
    rank: int | None
    """Rank among the prompts that it competes with, 1 = easiest; None: set aside."""
    ease: float | None
    likelihood: float | None
    reason: str
    evidence: dict[str, int]


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """How many prompts to drop, and from where."""

    share: float
    """Share of the judged prompts to drop, 0 to 1."""
    stratified: bool
    """True: drop the same share of every capability. False: drop the easiest of all prompts."""
    floor: int
    """Fewest prompts that every capability keeps."""
    seed: int
    """Breaks ties."""


def drop_easiest(
    judged_prompts: Sequence[JudgedPrompt], settings: FilterSettings
) -> dict[str, Decision]:
    """The decision on every prompt, by id. Of n judged prompts exactly floor(share n + 1/2) are
    dropped.

    A prompt is easier if its ease is higher; at equal ease, if the likelihood of its reference
    answer is higher (an unknown one counts as lowest); then the seed decides. The order of
    `judged_prompts` has no influence.

    Raises BadInput if the share leaves a capability with fewer prompts than the floor, RunFailed if
    no prompt of a capability could be judged."""
    if len({prompt.id for prompt in judged_prompts}) != len(judged_prompts):
        raise ValueError("two judgements of one prompt")
    ranked = rank_by_ease(judged_prompts, settings)
    _require_all_judged(judged_prompts, ranked)
    sizes = Counter(prompt.capability for prompt in ranked)
    drops = drop_counts(sizes, settings)
    total = sum(drops.values())
    decisions = {}
    ranks = Counter[str]()
    spare = {name: size - settings.floor for name, size in sizes.items()}
    for prompt in ranked:
        pool = prompt.capability if settings.stratified else "all"
        ranks[pool] += 1
        if settings.stratified:
            dropped = ranks[pool] <= drops[pool]
        else:
            dropped = total > 0 and spare[prompt.capability] > 0
            total -= dropped
            spare[prompt.capability] -= dropped
        size = sizes[pool] if settings.stratified else len(ranked)
        decisions[prompt.id] = _ranked_decision(prompt, ranks[pool], size, pool, dropped)
    aside = [prompt for prompt in judged_prompts if prompt.id not in decisions]
    return decisions | {
        prompt.id: _set_aside(prompt) for prompt in sorted(aside, key=lambda prompt: prompt.id)
    }


def rank_by_ease(
    judged_prompts: Sequence[JudgedPrompt], settings: FilterSettings
) -> list[JudgedPrompt]:
    """The judged prompts without the broken ones, easiest first."""

    def key(prompt: JudgedPrompt) -> tuple[float, float, int, str]:
        likelihood = float("-inf") if prompt.likelihood is None else prompt.likelihood
        return -(prompt.ease or 0.0), -likelihood, derive(settings.seed, prompt.id), prompt.id

    judged = (prompt for prompt in judged_prompts if prompt.ease is not None)
    return sorted((prompt for prompt in judged if not prompt.evidence), key=key)


def ease_ranks(decisions: Mapping[str, Decision], stratified: bool) -> dict[str, float]:
    """By id, the share of the competing prompts that are harder, 0 to 1; those that are tied with a
    prompt count half. The cut goes by this, and where every capability loses the same share, it is
    comparable between capabilities. Prompts that were set aside have none."""
    pools: dict[str, list[Decision]] = {}
    for one in decisions.values():
        if one.rank is not None:
            pools.setdefault(one.capability if stratified else "all", []).append(one)
    shares: dict[str, float] = {}
    for members in pools.values():
        above = 0
        for tied in _tied(members):
            share = 1 - (above + len(tied) / 2) / len(members)
            shares.update(dict.fromkeys((one.id for one in tied), share))
            above += len(tied)
    return shares


def _tied(members: Sequence[Decision]) -> list[list[Decision]]:
    """The prompts that compete, easiest first, grouped where nothing but the seed orders them."""
    in_order = sorted(members, key=lambda one: one.rank or 0)
    return [list(tied) for _, tied in groupby(in_order, key=lambda o: (o.ease, o.likelihood))]


def tied_at_threshold(
    judged_prompts: Sequence[JudgedPrompt], settings: FilterSettings
) -> list[str]:
    """Ids of prompts of equal ease of which some are dropped and some kept. Only for these can a
    further question change the outcome."""
    decisions = drop_easiest(judged_prompts, settings)
    outcomes: dict[tuple[str, float], set[str]] = {}
    for decision in decisions.values():
        if decision.rank is not None and decision.ease is not None:
            pool = decision.capability if settings.stratified else ""
            outcomes.setdefault((pool, decision.ease), set()).add(decision.decision)
    return [
        decision.id
        for decision in decisions.values()
        if decision.ease is not None
        and len(
            outcomes.get((decision.capability if settings.stratified else "", decision.ease), ())
        )
        > 1
    ]


def drop_counts(sizes: Mapping[str, int], settings: FilterSettings) -> dict[str, int]:
    """How many prompts each capability loses; floor(share n + 1/2) in total.

    Without stratification only the total matters. Raises BadInput if a capability would fall below
    the floor.
    """
    total = total_drop(sum(sizes.values()), settings.share)
    capacity = {name: max(size - settings.floor, 0) for name, size in sizes.items()}
    small = {name: size for name, size in sizes.items() if size < settings.floor}
    if small or total > sum(capacity.values()):
        listed = ", ".join(f"{name}: {size}" for name, size in sorted((small or sizes).items()))
        raise BadInput(
            f"drop_easiest {settings.share} drops {total} of {sum(sizes.values())} prompts, and"
            f" each of {len(sizes)} capabilities must keep {settings.floor} ({listed})",
            "lower drop_easiest or keep_at_least, or add prompts to the small capabilities",
        )
    return apportion(total, sizes, capacity)


def total_drop(size: int, share: float) -> int:
    """How many of `size` prompts a `share` is: floor(share size + 1/2)."""
    # The share as written in decimal: 0.145 of 100 is 14.5, although the float nearest to 0.145 is
    # smaller.
    return int(Fraction(repr(share)) * size + Fraction(1, 2))


def broken_evidence(verdicts: Sequence[Verdict], share: float) -> dict[str, int]:
    """How often each answer was given, if the answers contradict the prompt's reference.

    Empty unless no attempt is right and at least `share` of BROKEN_ATTEMPTS or more graded attempts
    give the same other answer."""
    attempts = [
        reply for verdict in verdicts if verdict.kind == "attempts" for reply in verdict.replies
    ]
    graded = [reply for reply in attempts if reply.fault is None]
    if len(graded) < BROKEN_ATTEMPTS or any(reply.value == 1.0 for reply in graded):
        return {}
    answers = _answers(graded)
    if answers.most_common(1)[0][1] < share * len(graded):
        return {}
    return dict(sorted(answers.items(), key=lambda item: (-item[1], item[0])))


def may_be_broken(verdict: Verdict, share: float) -> bool:
    """Whether the attempts that are left of a verdict can give `broken_evidence`."""
    graded = [reply for reply in verdict.replies if reply.fault is None]
    most = len(graded) + verdict.left
    if most < BROKEN_ATTEMPTS or any(reply.value == 1.0 for reply in graded):
        return False
    commonest = max(_answers(graded).values(), default=0)
    return commonest + verdict.left >= share * most


def _answers(graded: Sequence[Reply]) -> Counter[str]:
    """How often each answer was given."""
    return Counter((reply.answer or "").strip().casefold() for reply in graded)


def _require_all_judged(
    judged_prompts: Sequence[JudgedPrompt], ranked: Sequence[JudgedPrompt]
) -> None:
    """Raise RunFailed naming the first capability without a ranked prompt."""
    missing = {prompt.capability for prompt in judged_prompts} - {
        prompt.capability for prompt in ranked
    }
    if not missing:
        return
    capability = min(missing)
    members = [prompt for prompt in judged_prompts if prompt.capability == capability]
    broken = sum(bool(prompt.evidence) for prompt in members)
    descriptions = sorted({prompt.description for prompt in members})[:3]
    raise RunFailed(
        f"no prompt of capability {capability!r} could be judged: {broken} of {len(members)}"
        " look broken (attempts agree on an answer other than the reference);"
        f" {'; '.join(descriptions)}",
        (
            "check its reference answers and its verifier, or remove the capability"
            if 2 * broken >= len(members)
            else (
                "raise the judge's max_tokens where answers are cut_off, check the verifier where"
                " it crashes and the length of the prompts; or remove the capability"
            )
        ),
    )


def _ranked_decision(
    prompt: JudgedPrompt, rank: int, size: int, pool: str, dropped: bool
) -> Decision:
    reason = (
        f"{'easy' if dropped else 'hard'}: rank {rank} of {size} in {pool}, easiest first"
        f" ({prompt.description})"
    )
    outcome: Outcome = "dropped" if dropped else "kept"
    return _decision(prompt, outcome, rank, reason)


def _set_aside(prompt: JudgedPrompt) -> Decision:
    if not prompt.evidence:
        return _decision(prompt, "unjudged", None, f"unjudged: {prompt.description}")
    answers = ", ".join(
        f"{answer!r:.60} {count} times" for answer, count in list(prompt.evidence.items())[:3]
    )
    reason = f"broken: no attempt is right and they agree on another answer ({answers})"
    return _decision(prompt, "broken", None, reason)


def _decision(prompt: JudgedPrompt, outcome: Outcome, rank: int | None, reason: str) -> Decision:
    return Decision(
        prompt.id,
        prompt.capability,
        outcome,
        rank,
        prompt.ease,
        prompt.likelihood,
        reason,
        prompt.evidence,
    )
