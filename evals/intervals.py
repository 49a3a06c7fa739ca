"""95 % interval for the difference of two scores on the same prompts. That of one score is in
`common/intervals.py`."""

from math import sqrt

from common.intervals import Z, wilson


def paired_difference(
    both: int, gained: int, lost: int, neither: int, z: float = Z
) -> tuple[float, float, float]:
    """Difference of two scores on the same prompts, new minus old, with its interval: (difference,
    low, high).

    `both`: right before and after, `gained`: right only after, `lost`: right only before,
    `neither`: wrong in both; `z`: the two-sided quantile, for 95 % if not given. Method 10 of R. G.
    Newcombe (1998), Improved confidence intervals for the difference between binomial proportions
    based on paired data. Statistics in Medicine 17, 2635-2650: the Wilson bounds of both scores,
    combined with the correlation phi of the pairs, corrected for continuity."""
    n = both + gained + lost + neither
    new, old = (both + gained) / n, (both + lost) / n
    new_low, new_high = wilson(both + gained, n, z)
    old_low, old_high = wilson(both + lost, n, z)
    phi = _phi(both, gained, lost, neither)
    below = _side(new - new_low, old_high - old, phi)
    above = _side(old - old_low, new_high - new, phi)
    difference = (gained - lost) / n
    return difference, max(-1.0, difference - below), min(1.0, difference + above)


def _side(one: float, other: float, phi: float) -> float:
    return sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _phi(both: int, gained: int, lost: int, neither: int) -> float:
    """Correlation of the pairs, corrected towards 0 by half a count if positive; 0 if undefined."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if not margins:
        return 0.0
    surplus = float(both * neither - gained * lost)
    if surplus > 0:
        surplus = max(surplus - (both + gained + lost + neither) / 2, 0.0)
    return surplus / sqrt(margins)
