"""How often a policy gives the same answer, right or wrong, to prompts that ask the same, such as
one problem in several languages.

Answers agree if all are right, or are the same number, or the same text. An answer that says
nothing agrees with none."""

from collections.abc import Hashable, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from evals.answer import Answer
from rewards.exact import normalise
from rewards.numbers import read_number


def agreement(answers: Sequence[Answer]) -> dict[str, Any]:
    """`all_equal`, the share of groups whose answers all agree, and `pairs`, the mean over groups
    of the share of pairs that agree; None where nothing can be compared. `groups` have several
    answers; those with a fault among them are `left_out`. Of several answers to a prompt the first
    counts."""
    members: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.group and answer.sample == 0:
            members.setdefault(answer.group, []).append(answer)
    several = [group for group in members.values() if len(group) > 1]
    whole = [group for group in several if all(one.fault is None for one in group)]
    pairs = [_pairs([_said(one, number) for number, one in enumerate(group)]) for group in whole]
    return {
        "groups": len(whole),
        "left_out": len(several) - len(whole),
        "all_equal": fmean(share == 1.0 for share in pairs) if pairs else None,
        "pairs": fmean(pairs) if pairs else None,
    }


def _pairs(said: Sequence[Hashable]) -> float:
    """The share of pairs that are equal."""
    return fmean(one == other for one, other in combinations(said, 2))


def _said(answer: Answer, number: int) -> Hashable:
    """What an answer says, equal for answers that agree. The members of a group have the same
    reference, so right answers agree."""
    if answer.correct:
        return "right"
    if not (answer.answer or "").strip():
        return "nothing", number
    quantity = read_number(answer.answer or "")
    return ("number", quantity.value) if quantity else ("text", normalise(answer.answer or ""))
