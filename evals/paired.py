"""Whether one checkpoint is better than another on the same prompts, and how small a difference so
many prompts could show."""

from collections.abc import Sequence
from math import comb, sqrt
from statistics import NormalDist

LEVEL, POWER = 0.05, 0.8
"""Two-sided level of the test, and the power that `detectable` asks for."""


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of the exact McNemar test.

    `gained`: prompts right only after, `lost`: only before. Where nothing changes, a prompt of
    either kind is as likely: a binomial test of `gained` of their sum. Q. McNemar (1947), Note on
    the sampling error of the difference between correlated proportions. Psychometrika 12,
    153-157."""
    total, fewer = gained + lost, min(gained, lost)
    tail = sum(comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in their order: with those, the probability that any
    of the tests finds a difference where there is none is at most its level.

    S. Holm (1979), A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6, 65-70."""
    adjusted, largest = [0.0] * len(values), 0.0
    for place, number in enumerate(sorted(range(len(values)), key=lambda number: values[number])):
        largest = max(largest, min(1.0, (len(values) - place) * values[number]))
        adjusted[number] = largest
    return adjusted


def detectable(gained: int, lost: int, n: int) -> float:
    """The smallest difference, as a share of `n` prompts, that the McNemar test finds at LEVEL with
    the probability POWER, if as many prompts change as here.

    O. S. Miettinen (1968), The matched pairs design in the case of all-or-none responses.
    Biometrics 24, 339-352; solved by bisection. At least one prompt is taken to change, and at
    least as many as the difference needs."""
    normal = NormalDist()
    level, power = normal.inv_cdf(1 - LEVEL / 2), normal.inv_cdf(POWER)
    changed = max(gained + lost, 1) / n

    def is_found(difference: float) -> bool:
        spread = max(changed, difference)
        needed = level * sqrt(spread) + power * sqrt(max(0.0, spread - difference**2))
        return difference * sqrt(n) >= needed

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high
