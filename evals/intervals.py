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
    old = (both + lost) / n, *wilson(both + lost, n, z)
    new = (both + gained) / n, *wilson(both + gained, n, z)
    _, low, high = from_bounds(old, new, _phi(both, gained, lost, neither))
    difference = (gained - lost) / n
    return difference, min(low, difference), max(high, difference)


def from_bounds(
    old: tuple[float, float, float], new: tuple[float, float, float], phi: float
) -> tuple[float, float, float]:
    """Difference of two correlated scores, new minus old, with its interval, from (score, low,
    high) of both and their correlation `phi`.

    G. Y. Zou, A. Donner (2008), Construction of confidence limits about effect measures: a general
    approach. Statistics in Medicine 27, 1693-1702."""
    (was, was_low, was_high), (now, now_low, now_high) = old, new
    below = _side(now - now_low, was_high - was, phi)
    above = _side(was - was_low, now_high - now, phi)
    difference = now - was
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
