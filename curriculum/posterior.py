"""What is believed of a prompt's pass rate: a Beta distribution whose evidence fades as the policy moves on.

Pure maths on floats. Evidence is a pair (passes, fails), not necessarily whole: old evidence is multiplied by `decay`
for every policy version since, and added to a prior that never fades.
"""

import math
from dataclasses import dataclass

PRIOR_STRENGTH = 2.0
"""Pseudo-observations that a judge's verdict is worth: weak, as the judge is not the policy."""


@dataclass(frozen=True, slots=True)
class Beta:
    """A Beta(a, b) distribution of a pass rate; a and b are positive."""

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (0 < self.a < math.inf and 0 < self.b < math.inf):
            raise ValueError(f"a Beta needs positive, finite parameters, got ({self.a}, {self.b})")

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    @property
    def variance(self) -> float:
        total = self.a + self.b
        return self.a * self.b / (total * total * (total + 1))

    def all_pass(self, count: int) -> float:
        """E[p^count]: probability that `count` rollouts of one prompt all pass."""
        return math.exp(_log_rising(self.a, count) - _log_rising(self.a + self.b, count))

    def all_fail(self, count: int) -> float:
        """E[(1-p)^count]: probability that `count` rollouts of one prompt all fail."""
        return math.exp(_log_rising(self.b, count) - _log_rising(self.a + self.b, count))

    def mixed(self, group_size: int) -> float:
        """Probability that a group of rollouts has a spread of rewards, and so says anything to the policy.

        P(mixed) = 1 - E[p^G] - E[(1-p)^G], where under Beta(a, b)
        E[p^G] = B(a + G, b) / B(a, b) = G(a + G) G(a + b) / (G(a) G(a + b + G)) with the gamma function, and
        E[(1-p)^G] the same with a and b exchanged.
        """
        if group_size < 1:
            raise ValueError(f"a group has at least one rollout, got {group_size}")
        return min(1.0, max(0.0, 1.0 - self.all_pass(group_size) - self.all_fail(group_size)))

    @property
    def spread(self) -> float:
        """E[p(1-p)]: the expected variance of one rollout's reward; ab / ((a+b)(a+b+1))."""
        total = self.a + self.b
        return self.a * self.b / (total * (total + 1))


def _log_rising(x: float, count: int) -> float:
    """log of x (x+1) ... (x+count-1) = G(x + count) / G(x)."""
    return math.lgamma(x + count) - math.lgamma(x)


def faded(evidence: float, decay: float, versions: int) -> float:
    """What is left of `evidence` after `versions` further policy versions."""
    if not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1], got {decay}")
    if versions < 0:
        raise ValueError(f"evidence cannot fade over {versions} versions: it was seen with a later policy")
    return evidence * decay**versions


def judge_prior(passed: int, graded: int, pooled_passed: int, pooled_graded: int) -> Beta:
    """The prior that a judge's verdict on a prompt is worth, `PRIOR_STRENGTH` pseudo-observations in all.

    Its mean is the prompt's own pass rate shrunk towards the rate of its capability (`pooled_*`: sums over the
    capability's judged prompts) as if the capability's rate had been seen twice:
    mean = (passed + 2 r) / (graded + 2), r = (pooled_passed + 1) / (pooled_graded + 2).
    """
    if not (0 <= passed <= graded and 0 <= pooled_passed <= pooled_graded):
        raise ValueError(f"passes exceed attempts: {passed} of {graded}, {pooled_passed} of {pooled_graded}")
    pooled = (pooled_passed + 1) / (pooled_graded + 2)
    mean = (passed + PRIOR_STRENGTH * pooled) / (graded + PRIOR_STRENGTH)
    return Beta(PRIOR_STRENGTH * mean, PRIOR_STRENGTH * (1 - mean))
