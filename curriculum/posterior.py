"""The posterior of a prompt's pass rate: a Beta distribution whose evidence fades with the policy's
versions.

Pure maths on floats, and on arrays for a whole pool. Evidence is a pair (passes, fails), not
necessarily whole: it is multiplied by `decay` for every policy version since, and added to a prior
that never fades."""

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Number = TypeVar("Number", float, Floats)

PRIOR_STRENGTH = 2.0
"""Weight of a judge's verdict in pseudo-observations. It is low because the judge is not the
policy."""


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
        return float(all_pass(self.a, self.b, count))

    def all_fail(self, count: int) -> float:
        """E[(1-p)^count]: probability that `count` rollouts of one prompt all fail."""
        return float(all_pass(self.b, self.a, count))

    def mixed(self, group_size: int) -> float:
        """Probability that a group of `group_size` rollouts has passes and fails, without which
        rewards of 0 and 1 give no gradient."""
        return float(mixed(self.a, self.b, group_size))

    @property
    def spread(self) -> float:
        """E[p(1-p)]: the expected variance of one rollout's passing; ab / ((a+b)(a+b+1))."""
        total = self.a + self.b
        return self.a * self.b / (total * (total + 1))


@dataclass(frozen=True, slots=True)
class Prediction(Beta):
    """The pass rate of a prompt, and the shape of its rewards (`curriculum.spread`)."""

    pass_tie: float = 1.0
    fail_tie: float = 1.0

    def mixed(self, group_size: int) -> float:
        """Probability that the rewards of a group of `group_size` rollouts have a spread."""
        return float(mixed(self.a, self.b, group_size, self.pass_tie, self.fail_tie))


def all_pass(a: Number, b: Number, count: int) -> Number:
    """E[p^count] under Beta(a, b), of numbers or of arrays.

    B(a + n, b) / B(a, b) with the beta function, which is the product of (a + i) / (a + b + i) for
    i < n."""
    result = a * 0 + 1.0
    for i in range(count):
        result = result * (a + i) / (a + b + i)
    return result


def mixed(
    a: Number,
    b: Number,
    group_size: int,
    pass_tie: Number | float = 1.0,
    fail_tie: Number | float = 1.0,
) -> Number:
    """P(the rewards of a group of `group_size` rollouts have a spread), never negative:
    1 - E[p^G] s^(G-1) - E[(1-p)^G] t^(G-1), where s and t are the probabilities that two passing,
    or two failing, rollouts have equal rewards; 1 for rewards of 0 and 1."""
    if group_size < 1:
        raise ValueError(f"a group has at least one rollout, got {group_size}")
    others = group_size - 1
    equal_passes = all_pass(a, b, group_size) * pass_tie**others
    rest: Number = 1.0 - equal_passes - all_pass(b, a, group_size) * fail_tie**others
    return rest * (rest > 0)


def faded(evidence: float, decay: float, versions: int) -> float:
    """`evidence` after `versions` further policy versions."""
    if not 0 < decay <= 1:
        raise ValueError(f"decay must lie in (0, 1], got {decay}")
    if versions < 0:
        raise ValueError(
            f"evidence cannot fade over {versions} versions: it was observed with a later policy"
        )
    return evidence * decay**versions


def judge_prior(passed: float, graded: float, pooled_passed: float, pooled_graded: float) -> Beta:
    """The prior that a judge's verdict gives a prompt: `PRIOR_STRENGTH` pseudo-observations in all.

    Its mean is the prompt's own pass rate shrunk towards the rate r of its capability (`pooled_*`:
    sums over the capability's judged prompts): mean = (passed + 2 r) / (graded + 2) with
    r = (pooled_passed + 1) / (pooled_graded + 2)."""
    if not (0 <= passed <= graded and 0 <= pooled_passed <= pooled_graded):
        raise ValueError(
            f"passes exceed attempts: {passed} of {graded}, {pooled_passed} of {pooled_graded}"
        )
    pooled = (pooled_passed + 1) / (pooled_graded + 2)
    mean = (passed + PRIOR_STRENGTH * pooled) / (graded + PRIOR_STRENGTH)
    return Beta(PRIOR_STRENGTH * mean, PRIOR_STRENGTH * (1 - mean))
