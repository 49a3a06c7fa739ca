"""Preference pairs from the RL stage's own groups: a verified right answer against a wrong one to
the same prompt, of similar length."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.faults import CUT_OFF, counted, main_fault, remedy_of


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
    groups: Iterable[dict[str, Any]], max_pairs: int, max_length_ratio: float, seed: int
) -> list[Pair]:
    """At most one pair per prompt, from its newest group that has one; the newest pairs first, ties
    by seed.

    Rollouts with a fault (cut off, verifier crash) are neither right nor wrong and make no pair.
    """
    newest: dict[str, Pair] = {}
    for group in sorted(groups, key=lambda group: -group["step"]):
        if group["prompt_id"] not in newest and (pair := _pair(group, max_length_ratio, seed)):
            newest[group["prompt_id"]] = pair
    shuffled = sorted(newest.values(), key=lambda pair: pair.prompt_id)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled, key=lambda pair: -pair.step)[:max_pairs]


def why_none(groups: Sequence[dict[str, Any]]) -> tuple[str, str]:
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
    both = sum(
        len({m["reward"] for m in group["members"] if m["fault"] is None} & {0.0, 1.0}) == 2
        for group in groups
    )
    if both:
        return (
            f"in the {both} that have a right and a wrong answer their lengths differ too much",
            "raise max_length_ratio",
        )
    return "none has a right and a wrong answer", "train RL on prompts of medium difficulty"


def _pair(group: dict[str, Any], max_length_ratio: float, seed: int) -> Pair | None:
    """The right and the wrong answer of the group that are closest in length, if they are close
    enough."""
    members = [member for member in group["members"] if member["fault"] is None]
    right = {
        member["text"]: len(member["token_ids"]) for member in members if member["reward"] == 1.0
    }
    wrong = {
        member["text"]: len(member["token_ids"]) for member in members if member["reward"] == 0.0
    }
    candidates = [
        (max(a, b) / max(1, min(a, b)), chosen, rejected)
        for chosen, a in right.items()
        for rejected, b in wrong.items()
    ]
    random.Random(f"{seed}:{group['prompt_id']}").shuffle(candidates)
    ratio, chosen, rejected = min(candidates, key=lambda c: c[0], default=(float("inf"), "", ""))
    if ratio > max_length_ratio:
        return None
    return Pair(group["prompt_id"], chosen, rejected, group["step"], group["system"])
