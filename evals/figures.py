"""The figures of a suite's answers: the score with its interval, the rate of a corner case, counts
and mean rewards."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from common.faults import CUT_OFF, TOO_LONG
from common.intervals import wilson
from evals.agreement import agreement
from evals.answer import Answer
from evals.parts import PARTS
from evals.suite_file import CORNER_CASES


def summaries(answers: Sequence[Answer], agreeing: bool = False) -> dict[str, dict[str, Any]]:
    """The summary of each part of a suite; there is none of the whole, which would mix what has
    steered with what has not. With `agreeing` also how far answers agree (`evals/agreement.py`)."""
    parts = {part: [one for one in answers if one.part == part] for part in PARTS}
    return {
        part: summary(own, answers) | ({"agreement": agreement(own)} if agreeing else {})
        for part, own in parts.items()
    }


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
    units = {answer.unit: answer for answer in answers}
    graded = [answer for answer in units.values() if answer.counts]
    n, correct = len(graded), sum(answer.correct for answer in graded)
    score, low, high = _share(correct, n)
    rate, rate_low, rate_high = _share(n - correct, n)
    return {
        **({"rate": rate, "rate_low": rate_low, "rate_high": rate_high} if rated else {}),
        "score": score,
        "low": low,
        "high": high,
        "n": n,
        "faults": len(units) - n,
        "too_long": sum(answer.fault == TOO_LONG for answer in answers),
        "cut_off": sum(answer.finish == "length" or answer.fault == CUT_OFF for answer in answers),
        **_rewards(graded),
    }


def _share(count: int, n: int) -> tuple[float | None, float, float]:
    return (count / n, *wilson(count, n)) if n else (None, 0.0, 1.0)


def _rewards(answers: Sequence[Answer]) -> dict[str, Any]:
    """The mean reward and that of each part, where a reward says more than the score does."""
    if not any(answer.graded for answer in answers):
        return {}
    labels = dict.fromkeys(label for answer in answers for label in answer.parts)
    parts = {
        label: fmean(one.parts[label] for one in answers if label in one.parts) for label in labels
    }
    return {"reward": fmean(one.reward for one in answers), "rewards": parts}
