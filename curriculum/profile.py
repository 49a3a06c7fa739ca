"""The pass rates that the policy had when it last tried the whole pool, and draws whose pass rates
follow a Gaussian.

A draw's pass rates follow the target only if crowded pass rates weigh less, so a prompt's weight is
the Gaussian at its pass rate divided by the number of its capability's prompts with about that pass
rate."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np

from curriculum.accounting import GroupCounts
from curriculum.pool import Pool
from curriculum.posterior import Floats

CLASSES = 10
"""Classes of pass rates in which a capability's prompts are counted."""
AGAIN = 0.1
"""What a prompt that was rolled out since the profile weighs against one that was not, so that a
pass rate with few prompts is not drawn from over and over."""
LAST = 1e-100
"""Weight of prompts without a target: they are drawn when no others are left."""


@dataclass(frozen=True)
class Profile:
    """What the policy of one version made of the pool, and how training went since."""

    version: int
    rates: list[float | None]
    """Estimated pass rates in the pool's order. None: the policy passed every attempt, or no
    attempt could be graded."""
    gains: list[float] = field(default_factory=list)
    """By step, the pass rate of its groups less the profile's."""

    @classmethod
    def of(cls, pool: Pool, probes: Mapping[str, GroupCounts], version: int) -> "Profile":
        """The profile after probes of the pool have been recorded. A few attempts say little of a
        prompt, so its pass rate is the estimate that includes its difficulty group's."""
        rates: list[float | None] = [None] * len(pool.ids)
        ids = [id for id, group in probes.items() if group.fails]
        for id, estimate in zip(ids, pool.posteriors(ids, version), strict=True):
            rates[pool.index.position[id]] = round(estimate.mean, 4)
        return cls(version, rates)

    @property
    def known(self) -> Floats:
        """The pass rates, NaN where there is none."""
        return np.array([np.nan if rate is None else rate for rate in self.rates])

    def weights(self, pool: Pool, mean: float, deviation: float) -> Floats:
        """Weights with which the pass rates drawn of each capability follow a Gaussian."""
        rates = self.known
        usable = np.flatnonzero(~np.isnan(rates))
        classes = np.minimum((rates[usable] * CLASSES).astype(np.int64), CLASSES - 1)
        cells = pool.index.capability[usable] * CLASSES + classes
        weights = np.full(len(rates), LAST)
        gaussian = np.exp(-(((rates[usable] - mean) / deviation) ** 2) / 2)
        weights[usable] = gaussian / np.bincount(cells)[cells]
        weights[pool.seen > self.version] *= AGAIN
        return weights

    def after(self, pool: Pool, groups: Mapping[str, GroupCounts]) -> "Profile":
        """The profile with one more step's groups."""
        gains = []
        for id, group in groups.items():
            rate, graded = self.rates[pool.index.position[id]], group.passes + group.fails
            if rate is not None and graded:
                gains.append(group.passes / graded - rate)
        return replace(self, gains=[*self.gains, round(fmean(gains), 6)]) if gains else self

    def plateau(self, steps: int) -> bool:
        """Whether the gain was no higher in the last `steps` steps than in the `steps` before."""
        if len(self.gains) < 2 * steps:
            return False
        return fmean(self.gains[-steps:]) <= fmean(self.gains[-2 * steps : -steps])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
