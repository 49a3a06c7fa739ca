"""A value with its 95 % interval, and the interval of a share."""

from dataclasses import dataclass
from math import sqrt

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval, which contains it."""

    value: float
    low: float
    high: float


def wilson(correct: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of `correct` out of `n` (n >= 1), within [0, 1]. `z` is the two-sided
    quantile of the normal distribution; not given: for 95 %.

    E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference. JASA
    22, 209-212."""
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"need 0 <= correct <= n and n >= 1, got {correct} of {n}")
    return wilson_bounds(correct / n, n, z)


def wilson_bounds(share: float, n: float, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` independent ones; `n` need not be whole."""
    z2 = z * z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and n the bound equals the share exactly; rounding must not push it past.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def share_of(correct: int, n: int) -> Estimate | None:
    """`correct` out of `n` with Wilson's interval; None if `n` is 0."""
    return Estimate(correct / n, *wilson(correct, n)) if n else None
