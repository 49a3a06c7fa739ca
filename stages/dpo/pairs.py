"""Preference pairs from the RL stage's own groups: two answers to one prompt, of similar length,
the chosen one with the clearly higher reward. Of rewards of 0 and 1: right against wrong."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from common.faults import CUT_OFF, counted, main_fault, remedy_of

MIN_MARGIN = 0.5
"""Smallest difference between the rewards of a pair's answers, unless a recipe says so."""
ROUNDING = 1e-9
"""Share of the margin that rounding may take: 0.7 - 0.2 is a little less than 0.5."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt."""

    prompt_id: str
    chosen: str
    rejected: str
    step: int
    """RL step whose policy sampled both."""
    system: str | None
    """Text of the system prompt that both were sampled under; a prompt with a system message of its
    own keeps that one."""


def mine(
    groups: Iterable[dict[str, Any]],
    max_pairs: int,
    max_length_ratio: float,
    seed: int,
    min_margin: float = MIN_MARGIN,
) -> list[Pair]:
    """At most one pair per prompt, from its newest group that has one; the newest pairs first, ties
    by seed.

    Rollouts with a fault (cut off, verifier crash) have no reward and make no pair.
    """
    newest: dict[str, Pair] = {}
    for group in sorted(groups, key=lambda group: -group["step"]):
        if group["prompt_id"] not in newest and (
            pair := _pair(group, max_length_ratio, seed, min_margin)
        ):
            newest[group["prompt_id"]] = pair
    shuffled = sorted(newest.values(), key=lambda pair: pair.prompt_id)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda pair: -pair.step)[:max_pairs]


def why_none(groups: Sequence[dict[str, Any]], min_margin: float = MIN_MARGIN) -> tuple[str, str]:
    """Why no group has a pair, and what to do about it."""
    members = [member for group in groups for member in group["members"]]
    faults = Counter(
        member["fault"] or CUT_OFF
        for member in members
        if member["fault"] or member["finish"] == "length"
    )
    if reason := main_fault(faults, len(members)):
        return (
            f"{faults.total()} of {len(members)} answers could not be graded ({counted(faults)})",
            remedy_of(reason),
        )
    spreads = [
        max(rewards) - min(rewards)
        for group in groups
        if (rewards := [m["reward"] for m in group["members"] if m["fault"] is None])
    ]
    enough = sum(apart(spread, min_margin) for spread in spreads)
    if enough:
        return (
            f"in the {enough} that have answers with rewards {min_margin:g} apart their lengths"
            " differ too much",
            "raise max_length_ratio",
        )
    largest = max(spreads, default=0.0)
    if largest > 0:
        return (
            f"none has answers whose rewards are {min_margin:g} apart; the largest difference is"
            f" {largest:.2g}",
            "lower min_margin",
        )
    return "none has answers with different rewards", "train RL on prompts of medium difficulty"


def apart(difference: float, min_margin: float) -> bool:
    """Whether a difference between two rewards reaches the margin."""
    return difference >= min_margin * (1 - ROUNDING)


def _pair(
    group: dict[str, Any], max_length_ratio: float, seed: int, min_margin: float
) -> Pair | None:
    """The two answers of the group whose rewards are furthest apart, of those the two closest in
    length; None if no two are far enough apart in reward and close enough in length."""
    answers = {
        (member["text"], member["reward"]): len(member["token_ids"])
        for member in group["members"]
        if member["fault"] is None
    }
    candidates = [
        (high - low, max(a, b) / max(1, min(a, b)), chosen, rejected)
        for ((chosen, high), a), ((rejected, low), b) in product(answers.items(), repeat=2)
        if apart(high - low, min_margin) and chosen != rejected
    ]
    random.Random(f"{seed}:{group['prompt_id']}").shuffle(candidates)
    fitting = [one for one in candidates if one[1] <= max_length_ratio]
    if not fitting:
        return None
    _, _, chosen, rejected = min(fitting, key=lambda one: (-one[0], one[1]))
    return Pair(group["prompt_id"], chosen, rejected, group["step"], group["system"])
