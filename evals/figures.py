"""The figures of a suite's answers: the score with its interval, the rate of a corner case, counts
and mean rewards."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from common.faults import CUT_OFF, TOO_LONG
from evals.agreement import agreement
from evals.answer import Answer
from evals.parts import PARTS
from evals.suite_file import CORNER_CASES, HELD_OUT_SUITE
from evals.units import score_of_units, units_of

SHOWN = 12
"""Capabilities of a suite that tables show at most."""


def summaries(answers: Sequence[Answer], agreeing: bool = False) -> dict[str, dict[str, Any]]:
    """The summary of each part of a suite; there is none of the whole, which would mix what has
    steered with what has not. With `agreeing` also how far answers agree (`evals/agreement.py`)."""
    parts = {part: [one for one in answers if one.part == part] for part in PARTS}
    return {
        part: summary(own, answers) | ({"agreement": agreement(own)} if agreeing else {})
        for part, own in parts.items()
    }


def shown_parts(suite: str, part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What tables show of a part of a suite: its figures, and as `suite/capability` those of its
    capabilities. Of suites but `held_out` and `corner_cases` only where they are few: not one, and
    not the 57 subjects of `mmlu`."""
    own = part["by_capability"]
    always = suite in (HELD_OUT_SUITE, CORNER_CASES)
    shown = own if always or 1 < len(own) <= SHOWN else {}
    return {suite: part, **{f"{suite}/{name}": figures for name, figures in shown.items()}}


def summary(answers: Sequence[Answer], whole: Sequence[Answer] = ()) -> dict[str, Any]:
    """Score (0 to 1) with its 95 % interval and counts, over all answers and by capability, those
    of the `whole` suite included.

    The score is None where nothing was graded. Of `corner_cases` it is the share of clean replies;
    beside it stands the rate of those that show the case, 1 minus the score.
    """
    every = [*whole, *answers]
    rated = any(answer.suite == CORNER_CASES for answer in every)
    groups: dict[str, list[Answer]] = {answer.capability: [] for answer in every}
    for answer in answers:
        groups[answer.capability].append(answer)
    return {
        **_counts(answers, rated),
        "by_capability": {name: _counts(groups[name], rated) for name in sorted(groups)},
    }


def _counts(answers: Sequence[Answer], rated: bool) -> dict[str, Any]:
    graded = [answer for answer in answers if answer.counts]
    units = units_of((one.unit, one.cluster, float(one.correct)) for one in graded)
    score, low, high = score_of_units(list(units.values()))
    return {
        **(_rate(graded) if rated else {}),
        "score": score,
        "low": low,
        "high": high,
        "n": len(units),
        "faults": len({answer.unit for answer in answers} - units.keys()),
        "too_long": len({answer.id for answer in answers if answer.fault == TOO_LONG}),
        "cut_off": sum(answer.finish == "length" or answer.fault == CUT_OFF for answer in answers),
        **_rewards(graded),
    }


def _rate(answers: Sequence[Answer]) -> dict[str, float | None]:
    """The share of those that are not right, which of a corner case show it."""
    units = units_of((one.unit, one.cluster, float(not one.correct)) for one in answers)
    rate, low, high = score_of_units(list(units.values()))
    return {"rate": rate, "rate_low": low, "rate_high": high}


def _rewards(answers: Sequence[Answer]) -> dict[str, Any]:
    """The mean reward with its 95 % interval, and the mean of each part, where a reward says more
    than the score does."""
    if not any(answer.graded for answer in answers):
        return {}
    labels = dict.fromkeys(label for answer in answers for label in answer.parts)
    parts = {
        label: fmean(one.parts[label] for one in answers if label in one.parts) for label in labels
    }
    units = units_of((one.unit, one.cluster, one.reward) for one in answers)
    reward, low, high = score_of_units(list(units.values()))
    return {"reward": reward, "reward_low": low, "reward_high": high, "rewards": parts}
