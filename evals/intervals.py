"""95 % intervals for a score and for the difference of two scores on the same prompts."""

from math import sqrt

Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of `correct` out of `n` (n >= 1), within [0, 1].

    E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference. JASA 22, 209-212.
    """
    if not 0 <= correct <= n or n < 1:
        raise ValueError(f"need 0 <= correct <= n and n >= 1, got {correct} of {n}")
    share, z2 = correct / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At 0 and n the bound equals the share exactly; rounding must not push it past.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def paired_difference(both: int, gained: int, lost: int, neither: int) -> tuple[float, float, float]:
    """Difference of two scores on the same prompts, new minus old, with its interval: (difference, low, high).

    `both`: right before and after, `gained`: right only after, `lost`: right only before, `neither`: wrong in both.
    Method 10 of R. G. Newcombe (1998), Improved confidence intervals for the difference between binomial proportions
    based on paired data. Statistics in Medicine 17, 2635-2650: Wilson bounds of both scores, put together with the
    correlation phi of the pairs, corrected for continuity.
    """
    n = both + gained + lost + neither
    new, old = (both + gained) / n, (both + lost) / n
    new_low, new_high = wilson(both + gained, n)
    old_low, old_high = wilson(both + lost, n)
    phi = _phi(both, gained, lost, neither)
    below = _side(new - new_low, old_high - old, phi)
    above = _side(old - old_low, new_high - new, phi)
    difference = (gained - lost) / n
    return difference, max(-1.0, difference - below), min(1.0, difference + above)


def _side(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _phi(both: int, gained: int, lost: int, neither: int) -> float:
    """Correlation of the pairs, moved towards 0 by half a count where it is positive; 0 where it is undefined."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not margins:
        return 0.0
    surplus = float(both * neither - gained * lost)
    if surplus > 0:
        surplus = max(surplus - (both + gained + lost + neither) / 2, 0.0)
    return surplus / sqrt(margins)
