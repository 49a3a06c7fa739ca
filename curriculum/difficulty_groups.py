"""Difficulty groups: pass rates pooled over similar prompts, each group inside a wider one.

Prompts of one capability, source, difficulty settings and judge's verdict predict an untried prompt
that shares them. A prompt's path through the groups goes from wide to narrow in that order. A
group's pass rate starts from its prior: the mean of the judge's priors of its members, shifted (in
log-odds) by as much as the parent's estimate differs from the parent's prior. Its own rollouts then
outweigh the prior. The same holds for its intraclass correlation (how similar its prompts are) and
for the shape of its rewards (`curriculum.spread`). Evidence fades with the policy's versions.

A *rollout group* is the set of rollouts of one prompt in one step."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from curriculum.posterior import PRIOR_STRENGTH, faded
from curriculum.spread import BINARY, RewardShape, ShapeSums

INHERITED = 1.0
"""Weight of an inherited pass rate, in rollout groups."""
INHERITED_CORRELATION = 3.0
"""Weight of an inherited correlation, in rollout groups. A correlation takes more of them to
estimate."""
INHERITED_SHAPE = 4.0
"""Weight of an inherited shape of the rewards, in rollouts."""
CORRELATION = 1 / (1 + PRIOR_STRENGTH)
"""Intraclass correlation 1 / (a + b + 1) before any rollout group."""
LEAST, MOST = 0.02, 0.9
"""Limits of the intraclass correlation, so that neither one rollout group nor a thousand decide a
prompt's estimate alone."""
EDGE = 0.01
"""Least distance of a difficulty group's pass rate from 0 and 1."""
_SHAPE = tuple(field.name for field in fields(ShapeSums))
_FADING = ("rollout_groups", "rates", "pairs", "pair_rates", "squares", *_SHAPE)


@dataclass(frozen=True, slots=True)
class DifficultyGroup:
    """Sums over a difficulty group's prompts and rollout groups. Those over rollout groups are
    faded to `version`."""

    parent: int | None
    name: str
    members: int = 0
    prior_means: float = 0.0
    """Sum of the means of the members' priors."""
    rollout_groups: float = 0.0
    rates: float = 0.0
    """Sum of the rollout groups' pass rates, each corrected for what was known of its prompt."""
    pairs: float = 0.0
    """Rollout groups with two rollouts or more of prompts not observed before. `pair_rates` and
    `squares` are sums over these."""
    pair_rates: float = 0.0
    squares: float = 0.0
    """Unbiased estimates of the squared pass rate: k (k - 1) / (n (n - 1)) for k of n passes."""
    version: int = 0
    freedom: float = 0.0
    """This and the following are those of `curriculum.spread.ShapeSums`."""
    excess: float = 0.0
    pass_pairs: float = 0.0
    pass_ties: float = 0.0
    fail_pairs: float = 0.0
    fail_ties: float = 0.0

    def at(self, version: int, decay: float) -> "DifficultyGroup":
        """The difficulty group with its evidence faded to policy `version`."""
        if version == self.version:
            return self
        left: dict[str, Any] = {
            name: faded(getattr(self, name), decay, version - self.version) for name in _FADING
        }
        return replace(self, version=version, **left)

    def with_rollouts(
        self, passes: int, rewards: Sequence[float], surprise: float | None
    ) -> "DifficultyGroup":
        """The difficulty group with one more rollout group; its `rewards` are highest first.

        `surprise` is that of `curriculum.records.Observation`. It replaces the pass rate of a
        prompt observed before; None for a first observation."""
        count = len(rewards)
        rate = passes / count
        new = ShapeSums.of(passes, rewards)
        shape: dict[str, Any] = {name: getattr(self, name) + getattr(new, name) for name in _SHAPE}
        updated = replace(
            self,
            **shape,
            rollout_groups=self.rollout_groups + 1,
            rates=self.rates + (rate if surprise is None else surprise),
        )
        if surprise is not None or count < 2:
            return updated
        square = passes * (passes - 1) / (count * (count - 1))
        return replace(
            updated,
            pairs=self.pairs + 1,
            pair_rates=self.pair_rates + rate,
            squares=self.squares + square,
        )

    def merged(self, other: "DifficultyGroup", decay: float) -> "DifficultyGroup":
        """The evidence of both; the members are the same prompts."""
        version = max(self.version, other.version)
        mine, theirs = self.at(version, decay), other.at(version, decay)
        return replace(
            mine, **{name: getattr(mine, name) + getattr(theirs, name) for name in _FADING}
        )

    @property
    def shape_sums(self) -> ShapeSums:
        """What its rollout groups say of the shape of rewards."""
        return ShapeSums(*(getattr(self, name) for name in _SHAPE))

    @property
    def prior_mean(self) -> float:
        """Mean pass rate of the members' priors, 0.5 without members."""
        return _clipped(self.prior_means / self.members if self.members else 0.5)


@dataclass(frozen=True, slots=True)
class GroupEstimate:
    """Estimated pass rate of a difficulty group, the spread of its prompts around it, and the
    shape of their rewards."""

    mean: float
    correlation: float
    shape: RewardShape = BINARY

    @property
    def strength(self) -> float:
        """a + b of the Beta prior of an untried prompt in the group: 1 / correlation - 1."""
        return 1 / self.correlation - 1


def estimates(
    groups: dict[int, DifficultyGroup],
    ids: Iterable[int],
    version: int,
    decay: float,
    known: dict[int, GroupEstimate],
) -> dict[int, GroupEstimate]:
    """Estimates of some difficulty groups at policy `version`; parents are looked up in `groups`.

    `known` caches estimates of the same groups and version; new ones are added to it."""
    return {id: _estimate(groups, id, version, decay, known) for id in ids}


def _estimate(
    groups: dict[int, DifficultyGroup],
    id: int,
    version: int,
    decay: float,
    known: dict[int, GroupEstimate],
) -> GroupEstimate:
    if id not in known:
        group = groups[id].at(version, decay)
        mean, correlation, shape = group.prior_mean, CORRELATION, BINARY
        if group.parent is not None:
            parent = _estimate(groups, group.parent, version, decay, known)
            shift = _logit(parent.mean) - _logit(groups[group.parent].prior_mean)
            mean = 1 / (1 + math.exp(-_logit(mean) - shift))
            # Prompts of a wide group differ more than those of a part of it, so the parent's
            # correlation is only an upper bound.
            correlation = min(parent.correlation, CORRELATION)
            shape = parent.shape
        mean = _clipped((INHERITED * mean + group.rates) / (INHERITED + group.rollout_groups))
        known[id] = GroupEstimate(
            mean,
            _correlation(group, correlation),
            group.shape_sums.estimate(shape, INHERITED_SHAPE),
        )
    return known[id]


def _correlation(group: DifficultyGroup, inherited: float) -> float:
    """Intraclass correlation by moments, (E[p^2] - m^2) / (m (1 - m)), averaged with the inherited
    one."""
    if not group.pairs:
        return inherited
    mean = group.pair_rates / group.pairs
    own = (group.squares / group.pairs - mean * mean) / max(mean * (1 - mean), EDGE)
    pooled = (INHERITED_CORRELATION * inherited + group.pairs * min(max(own, 0.0), 1.0)) / (
        INHERITED_CORRELATION + group.pairs
    )
    return min(max(pooled, LEAST), MOST)


def _clipped(rate: float) -> float:
    return min(max(rate, EDGE), 1 - EDGE)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))
