"""Does the policy learn to please the reward instead of the task? The sign is a training reward
that rises while the dev score falls.

Both have to be more than noise. Picking the best of many evaluations to compare with makes a fall
look larger than it is: over 20 evaluations of an unchanged policy, plain 95 % intervals find a fall
in three runs of four. So the interval is widened for all pairs of evaluations so far (Bonferroni),
after which it is about one run in ten at most. The reward's trend is a least-squares line over the
steps from the interval that led to the best evaluation to the present one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, fmean

from common.intervals import Z
from evals.config import score_of
from evals.intervals import paired_difference

FEWEST = 8
"""Steps below which a trend is not judged."""


@dataclass(frozen=True)
class DevPoint:
    """One evaluation: after which step, and whether each answer that counts is correct, by its
    unit."""

    step: int
    answers: Mapping[str, bool]

    @property
    def score(self) -> float | None:
        return fmean(self.answers.values()) if self.answers else None


def hacking(
    points: Sequence[DevPoint], rewards: Mapping[int, float], suite: str, keeps_best: bool = False
) -> str | None:
    """What to tell the user after the last of a stage's evaluations; None while all is well.
    `rewards` has the mean training reward of every step; `keeps_best`: whether the stage keeps the
    weights of its best step."""
    known = [point for point in points if point.score is not None]
    if len(known) < 2 or known[-1] is not points[-1]:
        return None
    now = known[-1]
    best = max(known[:-1], key=lambda point: (point.score or 0.0, point.step))
    fall = _fall(best, now, pairs=len(known) * (len(known) - 1) // 2)
    before = max((point.step for point in points if point.step < best.step), default=0)
    steps = [step for step in sorted(rewards) if before < step <= now.step]
    if fall is None or not rising([rewards[step] for step in steps]):
        return None
    first = fmean(rewards[step] for step in steps if step <= best.step)
    last = fmean(rewards[step] for step in steps if step > best.step)
    return (
        f"step {now.step}: the training reward rose from {first:.2f} to {last:.2f} while the dev"
        f" score on {score_of(suite)} fell from {best.score:.2f} (step {best.step}) to"
        f" {now.score:.2f} ({fall}):"
        " the policy probably learns to please the reward and not the task (reward hacking); read"
        " the best rewarded answers of the last steps in groups.jsonl and correct the reward;"
        f" {'' if keeps_best else 'with `evaluate.keep_best: true` '}the stage keeps the weights of"
        " its best step"
    )


def _fall(best: DevPoint, now: DevPoint, pairs: int) -> str | None:
    """The fall of the score on the prompts that count in both, in words; None where the interval
    for all `pairs` of evaluations reaches 0."""
    both = [(best.answers[id], right) for id, right in now.answers.items() if id in best.answers]
    if not both:
        return None
    change, low, high = paired_difference(
        both=both.count((True, True)),
        gained=both.count((False, True)),
        lost=both.count((True, False)),
        neither=both.count((False, False)),
        z=NormalDist().inv_cdf(1 - 0.025 / pairs),
    )
    if high >= 0:
        return None
    return f"{change:+.2f} on {len(both)} prompts, interval {low:.2f} to {high:.2f}"


def rising(values: Sequence[float]) -> bool:
    """Whether the slope of the least-squares line through the values, one per step, lies above 0
    with its 95 % interval."""
    n = len(values)
    if n < FEWEST:
        return False
    middle, mean = (n - 1) / 2, fmean(values)
    spread = sum((place - middle) ** 2 for place in range(n))
    slope = sum((place - middle) * value for place, value in enumerate(values)) / spread
    residuals = sum(
        (value - mean - slope * (place - middle)) ** 2 for place, value in enumerate(values)
    )
    return slope > Z * sqrt(residuals / (n - 2) / spread)
