"""What a pool of prompts is like: which share is solved, of medium difficulty, and out of reach.

Few attempts tell little about one prompt and much about many. The pass rates of the pool are taken
to be a mixture of nine ranges, evenly within each, whose shares are those under which the attempts
are likeliest (by the EM algorithm; A. P. Dempster, N. M. Laird and D. B. Rubin (1977), JRSS B 39,
1-38). So two failures of two are read as what they are in a pool of hard prompts and in one of
medium ones. Shape suffixes: N prompts; G groups of prompts with equal counts; K ranges; R
resamples, row 0 being the prompts themselves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.intervals import Estimate, wilson
from common.seeds import derive
from judges.attempts import probability_below
from judges.audit import MEDIUM, estimate

Floats = NDArray[np.float64]
Evidence = tuple[int, int]
"""Of one prompt: passed and graded attempts."""
EDGES = (0.0, 0.02, 0.1, MEDIUM[0], 0.4, 0.6, MEDIUM[1], 0.9, 0.98, 1.0)
"""Pass rates between which the ranges lie: three each are out of reach, of medium difficulty and
solved. Those at the ends are narrow, as many prompts always fail or always pass."""
_STEPS = 300
"""Steps of the EM algorithm; its shares then move by less than their intervals by far."""
_RESAMPLED = 200
"""Resamples for the intervals, which need not be finer than a whole per cent."""


@dataclass(frozen=True, slots=True)
class PoolShares:
    """Shares of a pool, each with a 95 % interval; they add up to 1."""

    prompts: int
    attempts: int
    """Prompts with a graded attempt, and their graded attempts."""
    out_of_reach: Estimate
    medium: Estimate
    solved: Estimate
    medium_kept: Estimate | None
    """Share of medium prompts among those that the cut keeps; None if none of them was
    attempted."""


def pool_shares(evidence: Sequence[Evidence], kept: Sequence[bool], seed: int) -> PoolShares:
    """The shares of the prompts with graded attempts, of which there must be at least one; `kept`
    says of every prompt whether the cut keeps it."""
    pairs = [(one, keep) for one, keep in zip(evidence, kept, strict=True) if one[1]]
    groups = sorted({one for one, _ in pairs})
    index = {one: place for place, one in enumerate(groups)}
    group_N = np.array([index[one] for one, _ in pairs])
    likelihood_GK = np.array([_likelihoods(*one) for one in groups])
    counts_G = np.bincount(group_N)
    # Drawing prompts with replacement is drawing from the counts of the groups.
    draws = np.random.default_rng(derive(seed, "pool"))
    resampled = draws.multinomial(len(pairs), counts_G / len(pairs), size=_RESAMPLED)
    counts_RG = np.vstack([counts_G, resampled]).astype(np.float64)
    shares_RK = _mixture(counts_RG, likelihood_GK)
    thirds_R3 = shares_RK.reshape(len(shares_RK), 3, 3).sum(2)
    reach, medium, solved = (_interval(column_R, len(pairs)) for column_R in thirds_R3.T)
    posterior_GK = shares_RK[0] * likelihood_GK
    posterior_GK /= posterior_GK.sum(1, keepdims=True)
    kept_N = np.array([keep for _, keep in pairs], dtype=bool)
    medium_kept = _share(posterior_GK[group_N[kept_N], 3:6].sum(1))
    attempts = sum(graded for (_, graded), _ in pairs)
    return PoolShares(len(pairs), attempts, reach, medium, solved, medium_kept)


def _likelihoods(passed: int, graded: int) -> list[float]:
    """Likelihood of the counts under pass rates that lie evenly in each range, up to one factor."""
    failed = graded - passed
    below = [probability_below(rate, passed, failed) for rate in EDGES]
    # Far tails round to 0 or less, and no prompt may be impossible.
    return [
        max(below[n + 1] - below[n], 1e-300) / (EDGES[n + 1] - EDGES[n])
        for n in range(len(EDGES) - 1)
    ]


def _mixture(counts_RG: Floats, likelihood_GK: Floats) -> Floats:
    """Shares of the ranges, (R, K), that maximise the likelihood of each row of counts."""
    size = likelihood_GK.shape[1]
    shares_RK = np.full((len(counts_RG), size), 1 / size)
    total_R1 = counts_RG.sum(1, keepdims=True)
    for _ in range(_STEPS):
        density_RG = shares_RK @ likelihood_GK.T
        shares_RK = shares_RK * ((counts_RG / density_RG) @ likelihood_GK) / total_R1
    return shares_RK


def _share(probability_N: Floats) -> Estimate | None:
    """The share of prompts that are of a kind with these probabilities."""
    if not len(probability_N):
        return None
    value = float(min(probability_N.mean(), 1.0))
    low, high = wilson(round(value * len(probability_N)), len(probability_N))
    return Estimate(value, min(low, value), max(high, value))


def _interval(share_R: Floats, prompts: int) -> Estimate:
    """The share with its percentile interval, which is at least that of counted prompts: resamples
    of prompts that are all alike do not differ."""
    found = estimate(share_R, chance=0.0)
    assert found is not None  # no share is NaN
    value = min(found.value, 1.0)
    low, high = wilson(round(value * prompts), prompts)
    return Estimate(value, min(low, found.low, value), max(high, found.high, value))
