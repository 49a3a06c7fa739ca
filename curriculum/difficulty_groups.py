"""What prompts of one kind have in common: pass rates pooled over cells, each inside a wider one.

A prompt that was never tried is not unknown: prompts of its capability, source, difficulty settings
and judge's verdict were. Its path through the cells goes from wide to narrow in that order. A
cell's pass rate starts from what its parent turned out to be (the judge's word for the cell, moved
by as much as the parent moved) and follows its own groups as they come; its intraclass correlation
(how alike its prompts are) likewise. Both fade as the policy moves on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from curriculum.posterior import PRIOR_STRENGTH, faded

INHERITED = 1.0
"""Groups that a pass rate which a cell inherits is worth."""
INHERITED_CORRELATION = 3.0
"""Groups that an inherited correlation is worth: it takes more to tell."""
CORRELATION = 1 / (1 + PRIOR_STRENGTH)
"""Intraclass correlation 1 / (a + b + 1) before any group was seen."""
LEAST, MOST = 0.02, 0.9
"""Limits of the intraclass correlation, so that neither one group nor a thousand settle a
prompt."""
EDGE = 0.01
"""How near 0 and 1 a cell's pass rate may come."""


@dataclass(frozen=True, slots=True)
class DifficultyGroup:
    """Sums over a cell's prompts and groups. Those over groups are faded to `version`."""

    parent: int | None
    name: str
    members: int = 0
    base: float = 0.0
    """Sum of the pass rates that the judge's word gives the members."""
    groups: float = 0.0
    rates: float = 0.0
    """Sum of the groups' pass rates, each corrected for what was known of its prompt."""
    pairs: float = 0.0
    """Groups of two rollouts or more of prompts not seen before; the next two are sums over
    these."""
    pair_rates: float = 0.0
    squares: float = 0.0
    """Unbiased estimates of the squared pass rate: k (k - 1) / (n (n - 1)) for k of n passes."""
    version: int = 0

    def at(self, version: int, decay: float) -> "DifficultyGroup":
        """The cell with its groups faded to policy `version`."""
        if version == self.version:
            return self
        names = ("groups", "rates", "pairs", "pair_rates", "squares")
        left: dict[str, Any] = {
            name: faded(getattr(self, name), decay, version - self.version) for name in names
        }
        return replace(self, version=version, **left)

    def with_group(self, passes: int, fails: int, surprise: float | None) -> "DifficultyGroup":
        """The cell after a group. `surprise`: pass rate less what was believed of a prompt seen
        before, plus the cell's own rate; None for a prompt not seen before, whose pass rate counts
        as it is."""
        count = passes + fails
        rate = passes / count
        seen = replace(
            self,
            groups=self.groups + 1,
            rates=self.rates + (rate if surprise is None else surprise),
        )
        if surprise is not None or count < 2:
            return seen
        square = passes * (passes - 1) / (count * (count - 1))
        return replace(
            seen,
            pairs=self.pairs + 1,
            pair_rates=self.pair_rates + rate,
            squares=self.squares + square,
        )

    def merged(self, other: "DifficultyGroup", decay: float) -> "DifficultyGroup":
        """Both cells' groups together; the members are the same prompts."""
        version = max(self.version, other.version)
        mine, theirs = self.at(version, decay), other.at(version, decay)
        names = ("groups", "rates", "pairs", "pair_rates", "squares")
        return replace(
            mine, **{name: getattr(mine, name) + getattr(theirs, name) for name in names}
        )


@dataclass(frozen=True, slots=True)
class Belief:
    """A cell's pass rate and the spread of its prompts around it."""

    mean: float
    correlation: float

    @property
    def strength(self) -> float:
        """a + b of the Beta that an untried prompt of the cell has: 1 / correlation - 1."""
        return 1 / self.correlation - 1


def beliefs(
    difficulty_groups: dict[int, DifficultyGroup],
    ids: Iterable[int],
    version: int,
    decay: float,
    known: dict[int, Belief],
) -> dict[int, Belief]:
    """What is believed of some cells at policy `version`; parents are looked up in
    `difficulty_groups`.

    `known` are beliefs of the same cells and version that were worked out before; what is new is
    added."""

    def belief(id: int) -> Belief:
        if id not in known:
            difficulty_group = difficulty_groups[id].at(version, decay)
            base = _inside(
                difficulty_group.base / difficulty_group.members
                if difficulty_group.members
                else 0.5
            )
            mean, correlation = base, CORRELATION
            if difficulty_group.parent is not None:
                above, wider = (
                    belief(difficulty_group.parent),
                    difficulty_groups[difficulty_group.parent],
                )
                quota_shift = _logit(above.mean) - _logit(_inside(wider.base / wider.members))
                mean = 1 / (1 + math.exp(-_logit(base) - quota_shift))
                # A wide cell's prompts differ more than those of one part: its correlation says
                # little of the part.
                correlation = min(above.correlation, CORRELATION)
            mean = _inside(
                (INHERITED * mean + difficulty_group.rates) / (INHERITED + difficulty_group.groups)
            )
            known[id] = Belief(mean, _correlation(difficulty_group, correlation))
        return known[id]

    return {id: belief(id) for id in ids}


def _correlation(difficulty_group: DifficultyGroup, inherited: float) -> float:
    """Intraclass correlation by moments: (E[p^2] - m^2) / (m (1 - m)), between what is inherited
    and the cell's own."""
    if not difficulty_group.pairs:
        return inherited
    mean = difficulty_group.pair_rates / difficulty_group.pairs
    own = (difficulty_group.squares / difficulty_group.pairs - mean * mean) / max(
        mean * (1 - mean), EDGE
    )
    shared = (
        INHERITED_CORRELATION * inherited + difficulty_group.pairs * min(max(own, 0.0), 1.0)
    ) / (INHERITED_CORRELATION + difficulty_group.pairs)
    return min(max(shared, LEAST), MOST)


def _inside(rate: float) -> float:
    return min(max(rate, EDGE), 1 - EDGE)


def _logit(rate: float) -> float:
    return math.log(rate / (1 - rate))
