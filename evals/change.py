"""What changed between two checkpoints on the same prompts: the difference with its 95 % interval,
and whether it is one of chance.

Plain units, each right or wrong and alone, have Newcombe's interval and McNemar's exact test. Means
of several answers, and prompts that belong together, have the same two in their general form:
interval and test over clusters."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

from common.seeds import derive
from evals.intervals import from_bounds, paired_difference
from evals.paired import LEVEL, POWER, detectable, mcnemar
from evals.units import Unit, are_plain, correlation, residuals, score_of_units

FLIPS = 9999
"""Random sign changes of the test over clusters."""


@dataclass(frozen=True)
class Change:
    """New minus old, on the units that both have."""

    n: int
    delta: float
    low: float
    high: float
    p: float
    """Two-sided p-value."""
    detectable: float
    """`evals.paired.detectable`."""


def change_between(before: Mapping[str, Unit], after: Mapping[str, Unit]) -> Change | None:
    """The change on the units that are in both; None where none is."""
    shared = [name for name in after if name in before]
    if not shared:
        return None
    old, new = [before[name] for name in shared], [after[name] for name in shared]
    if are_plain(old) and are_plain(new):
        return _plain(
            [(one.value == 1, other.value == 1) for one, other in zip(old, new, strict=True)]
        )
    return _clustered(old, new)


def _plain(pairs: list[tuple[bool, bool]]) -> Change:
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    interval = paired_difference(both=both, gained=gained, lost=lost, neither=neither)
    n = len(pairs)
    return Change(n, *interval, mcnemar(gained, lost), detectable(gained, lost, n))


def _clustered(old: list[Unit], new: list[Unit]) -> Change:
    was, now = _known(old), _known(new)
    phi = correlation(residuals(old, was[0]), residuals(new, now[0]))
    interval = from_bounds(was, now, phi)
    by_cluster: dict[str, float] = {}
    for one, other in zip(old, new, strict=True):
        by_cluster[one.cluster] = by_cluster.get(one.cluster, 0.0) + other.value - one.value
    values = np.array(list(by_cluster.values()))
    return Change(len(old), *interval, sign_flips(values), _smallest(values, len(old)))


def _known(units: list[Unit]) -> tuple[float, float, float]:
    score, low, high = score_of_units(units)
    assert score is not None
    return score, low, high


def sign_flips(values: np.ndarray) -> float:
    """Two-sided p-value of the mean of `values`, one a cluster: the share of random sign changes
    with a sum at least as far from 0. Where nothing changes, a cluster is as likely to gain as to
    lose. With gains of 1 and -1 it is McNemar's test. R. A. Fisher (1935), The design of
    experiments, section 21; the data as drawn count among the changes."""
    changed = values[np.abs(values) > 1e-12]
    if not len(changed):
        return 1.0
    rng, target = np.random.default_rng(derive(0, "sign flips")), abs(changed.sum()) - 1e-9
    at_once = max(1, min(FLIPS, 2_000_000 // len(changed)))
    far = 0
    for start in range(0, FLIPS, at_once):
        rows = min(at_once, FLIPS - start)
        lost = rng.integers(0, 2, (rows, len(changed)), dtype=np.int8).astype(np.float32)
        sums = changed.sum() - 2 * (lost @ changed.astype(np.float32))
        far += int((np.abs(sums) >= target - 1e-4).sum())
    return (1 + far) / (1 + FLIPS)


def _smallest(values: np.ndarray, n: int) -> float:
    """The smallest difference that is found at LEVEL with the probability POWER, if clusters vary
    as much as here; one unit at least."""
    normal = NormalDist()
    needed = normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)
    return min(1.0, needed * sqrt(max(1.0, float((values**2).sum()))) / n)
