"""What rewards between 0 and 1 add to passing and failing.

A rollout passes when its reward reaches a threshold. Where rewards are 0 or 1, the pass rate p says
all: the variance of a rollout's reward is p (1 - p), and a group has a spread unless all pass or
all fail. Graded rewards differ in two ways, which a `RewardShape` describes: their variance is
another one, and rollouts that all fail (or all pass) need not be equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

LEAST_SPREAD = 0.01
"""Smallest difference between two rewards that counts as one. Advantages are divided by the spread,
so that a smaller one, such as a judge's rounding, would be trained on as if it were large."""


@dataclass(frozen=True, slots=True)
class RewardShape:
    """How rewards lie around passing and failing. The defaults are those of rewards of 0 and 1."""

    excess: float = 0.0
    """Variance of a rollout's reward, less the variance of its passing."""
    pass_tie: float = 1.0
    """Probability that two passing rollouts of a prompt have equal rewards."""
    fail_tie: float = 1.0
    """The same of two failing ones."""


BINARY = RewardShape()
"""The shape of rewards of 0 and 1, and of those that nothing is known of."""


def rewards_of(passes: int, fails: int, rewards: Sequence[float]) -> tuple[float, ...]:
    """The rewards of graded rollouts, highest first, so that the first `passes` pass. None given: 1
    for each pass and 0 for each fail. Raises ValueError unless there is one per rollout."""
    if not rewards:
        return (1.0,) * passes + (0.0,) * fails
    if len(rewards) != passes + fails:
        raise ValueError(f"{len(rewards)} rewards of {passes} passes and {fails} fails")
    return tuple(sorted(rewards, reverse=True))


def has_spread(rewards: Sequence[float]) -> bool:
    """Whether rewards differ enough to learn from."""
    return bool(rewards) and max(rewards) - min(rewards) >= LEAST_SPREAD


@dataclass(frozen=True, slots=True)
class ShapeSums:
    """Sums over groups of rollouts from which a `RewardShape` is estimated."""

    freedom: float = 0.0
    """Rollouts less one of each group."""
    excess: float = 0.0
    """Squared deviations of the rewards from their mean, less those of passing (1 or 0)."""
    pass_pairs: float = 0.0
    """Passing rollouts less one, of each group with any."""
    pass_ties: float = 0.0
    """`pass_pairs` times the share of pairs of passing rollouts with equal rewards."""
    fail_pairs: float = 0.0
    fail_ties: float = 0.0

    @classmethod
    def of(cls, passes: int, rewards: Sequence[float]) -> "ShapeSums":
        """The sums of one group; `rewards` are highest first, and `passes` of them pass."""
        if len(rewards) < 2:
            return cls()
        fails = len(rewards) - passes
        binary = rewards_of(passes, fails, ())
        return cls(
            len(rewards) - 1.0,
            _squared_deviations(rewards) - _squared_deviations(binary),
            max(passes - 1.0, 0.0),
            _ties(rewards[:passes]),
            max(fails - 1.0, 0.0),
            _ties(rewards[passes:]),
        )

    def estimate(self, inherited: RewardShape, weight: float) -> RewardShape:
        """The estimate, averaged with an inherited one that counts as `weight` rollouts."""
        return RewardShape(
            (weight * inherited.excess + self.excess) / (weight + self.freedom),
            (weight * inherited.pass_tie + self.pass_ties) / (weight + self.pass_pairs),
            (weight * inherited.fail_tie + self.fail_ties) / (weight + self.fail_pairs),
        )


def _squared_deviations(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)


def _ties(rewards: Sequence[float]) -> float:
    """(n - 1) times the share of equal pairs of n rewards."""
    if len(rewards) < 2:
        return 0.0
    equal = sum(abs(one - other) < LEAST_SPREAD for one, other in combinations(rewards, 2))
    return 2 * equal / len(rewards)
