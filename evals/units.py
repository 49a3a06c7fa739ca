"""What counts once in a score, and the score of many with its 95 % interval.

A unit is a prompt, or a question in several languages. Its value is the share of its counted
answers that are correct. Units that belong together, such as a question and its opposite, say much
about each other: they are one cluster, and the interval is one over clusters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from common.intervals import Z, wilson, wilson_bounds


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of a suite."""

    value: float
    """0 to 1."""
    cluster: str
    answers: int = 1
    """Counted answers that the value is the mean of."""


def units_of(answers: Iterable[tuple[str, str, float]]) -> dict[str, Unit]:
    """The units by name, in order. An answer is given as (unit, cluster, value)."""
    values: dict[str, list[float]] = {}
    clusters: dict[str, str] = {}
    for unit, cluster, value in answers:
        values.setdefault(unit, []).append(value)
        clusters[unit] = cluster
    return {
        unit: Unit(sum(own) / len(own), clusters[unit], len(own)) for unit, own in values.items()
    }


def are_plain(units: Sequence[Unit]) -> bool:
    """Whether each is right or wrong, and alone in its cluster."""
    return all(unit.value in (0.0, 1.0) for unit in units) and len(
        {unit.cluster for unit in units}
    ) == len(units)


def score_of_units(units: Sequence[Unit]) -> tuple[float | None, float, float]:
    """(mean value, low, high); (None, 0, 1) without units.

    Wilson's interval, of plain units with their number, of others with the effective one: that of
    independent units whose mean would vary as much as this one does from cluster to cluster, by
    Student's distribution. E. L. Korn, B. I. Graubard (1998), Confidence intervals for proportions
    with small expected number of positive counts estimated from survey data. Survey Methodology 24,
    193-201, with Wilson's bounds in place of exact ones."""
    if not units:
        return None, 0.0, 1.0
    mean = sum(unit.value for unit in units) / len(units)
    if are_plain(units):
        return mean, *wilson(round(mean * len(units)), len(units))
    return mean, *wilson_bounds(mean, _effective(units, mean))


def residuals(units: Sequence[Unit], mean: float) -> dict[str, float]:
    """By cluster, how far its units are from the mean in sum."""
    sums: dict[str, float] = {}
    for unit in units:
        sums[unit.cluster] = sums.get(unit.cluster, 0.0) + unit.value - mean
    return sums


def _effective(units: Sequence[Unit], mean: float) -> float:
    """The effective number of units. Where all are right or all are wrong, nothing shows that the
    units of a cluster are more than one."""
    sums = residuals(units, mean).values()
    clusters = len(sums)
    if clusters < 2:
        return 1.0
    variance = clusters / (clusters - 1) * sum(one * one for one in sums) / len(units) ** 2
    if variance < 1e-12 or not 0 < mean < 1:
        number = float(clusters)
    else:
        number = min(mean * (1 - mean) / variance, sum(unit.answers for unit in units))
    return number * (Z / students_quantile(clusters - 1)) ** 2


def students_quantile(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's distribution, by the expansion of Cornish and Fisher to
    the third order: M. Abramowitz, I. A. Stegun (1964), 26.7.5."""
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / degrees + second / degrees**2 + third / degrees**3


def correlation(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Correlation of the residuals of the same clusters; 0 where one of them does not vary."""
    own = [sum(one * one for one in side.values()) for side in (before, after)]
    if min(own) < 1e-12:
        return 0.0
    shared = sum(value * after[cluster] for cluster, value in before.items())
    return shared / sqrt(own[0] * own[1])
