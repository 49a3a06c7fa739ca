"""Prompts to draw from. Tried prompts have weights of their own; the untried prompts of a
difficulty group share one, so a draw from a million prompts takes milliseconds."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curriculum.posterior import Floats, mixed
from curriculum.prompt_index import Indices, Mask, PromptIndex
from curriculum.spread import BINARY


@dataclass(frozen=True)
class Estimates:
    """What is known of some prompts, an array each."""

    a: Floats
    """a and b of the posterior of the pass rate."""
    b: Floats
    age: Floats
    """Versions since the last rollouts, one more if there are none."""
    excess: Floats | float = BINARY.excess
    """This and the following are those of `curriculum.spread.RewardShape`."""
    pass_tie: Floats | float = BINARY.pass_tie
    fail_tie: Floats | float = BINARY.fail_tie

    @property
    def mean(self) -> Floats:
        """The expected pass rate."""
        return self.a / (self.a + self.b)

    def mixed(self, group_size: int) -> Floats:
        """P(the rewards of a group of `group_size` rollouts have a spread)."""
        return mixed(self.a, self.b, group_size, self.pass_tie, self.fail_tie)


Weigh = Callable[[Estimates], Floats]
"""Weights of prompts."""


@dataclass(frozen=True)
class Candidates:
    """Some prompts and their estimates."""

    index: PromptIndex
    untried: Mask
    tried: Indices
    """Positions of the prompts with rollouts of their own."""
    tried_estimates: Estimates
    """Of each tried prompt."""
    groups: Indices
    """Ids of the difficulty groups with untried prompts."""
    counts: Indices
    """Untried prompts of each of these groups."""
    group_estimates: Estimates
    """Of an untried prompt of each group."""

    def weighted(self, weigh: Weigh) -> "WeightedPrompts":
        """These prompts with weights."""
        return WeightedPrompts(
            self.index,
            self.untried,
            self.tried,
            weigh(self.tried_estimates),
            self.groups,
            self.counts,
            weigh(self.group_estimates),
        )

    def sizes(self) -> dict[str, int]:
        """Prompts by capability."""
        return self.weighted(lambda known: np.ones_like(known.a)).at_least(1.0)


@dataclass(frozen=True)
class WeightedPrompts:
    """Prompts with weights; the fields are those of `Candidates`."""

    index: PromptIndex
    untried: Mask
    tried: Indices
    tried_weights: Floats
    groups: Indices
    counts: Indices
    group_weights: Floats
    """Weight of one untried prompt of each group."""

    @classmethod
    def each(cls, index: PromptIndex, positions: Indices, weights: Floats) -> "WeightedPrompts":
        """Prompts with a weight of their own each, whether they were tried or not."""
        none = np.zeros(0, dtype=np.int64)
        untried = np.zeros(len(index.ids), dtype=np.bool_)
        return cls(index, untried, positions, weights, none, none, weights[:0])

    def at_least(self, weight: float) -> dict[str, int]:
        """Number of prompts of this weight or more, by capability."""
        index = self.index
        counts = np.bincount(
            index.capability[self.tried[self.tried_weights >= weight]],
            minlength=len(index.capabilities),
        )
        enough = self.group_weights >= weight
        np.add.at(counts, index.group_capability[self.groups[enough]], self.counts[enough])
        return dict(zip(index.capabilities, counts.tolist(), strict=True))

    @property
    def mean_weight(self) -> float:
        """The mean weight of a prompt."""
        total = self.tried_weights.sum() + (self.counts * self.group_weights).sum()
        return float(total / max(len(self.tried) + self.counts.sum(), 1))

    def sample(self, capability: str, count: int, rng: np.random.Generator) -> list[str]:
        """Draw `count` ids without replacement, each in proportion to its weight among those left.

        A prompt's key is an exponential variate divided by its weight; the smallest keys win
        (Efraimidis and Spirakis 2006). Of c untried prompts of weight w, the smallest keys lie at
        gaps of rates c w, (c - 1) w, and so on. Weight 0 comes last."""
        index, number = self.index, self.index.capabilities.index(capability)
        mine = index.capability[self.tried] == number
        tried, weights = self.tried[mine], self.tried_weights[mine]
        keys = [_divided(rng.exponential(size=len(tried)), weights)]
        owners = [np.full(len(tried), -1)]
        groups = zip(self.groups, self.counts, self.group_weights, strict=True)
        for group_id, size, weight in groups:
            if index.group_capability[group_id] == number:
                most = min(count, int(size))
                rates = (size - np.arange(most)) * weight
                keys.append(np.cumsum(_divided(rng.exponential(size=most), rates)))
                owners.append(np.full(most, group_id))
        order = _smallest(np.concatenate(keys), count)
        owner = np.concatenate(owners)[order]
        chosen = tried[order[owner == -1]].tolist()
        drawn = np.unique(owner[owner >= 0], return_counts=True)
        for group_id, size in zip(*drawn, strict=True):
            members = index.members(int(group_id), self.untried)
            chosen += rng.choice(members, size=int(size), replace=False).tolist()
        return [index.ids[position] for position in chosen]


def _smallest(keys: Floats, count: int) -> Indices:
    """Positions of the `count` smallest keys, in order."""
    if not 0 < count < len(keys):
        return np.argsort(keys, kind="stable")[:count]
    chosen = np.argpartition(keys, count - 1)[:count]
    return chosen[np.argsort(keys[chosen], kind="stable")]


def _divided(variates: Floats, weights: Floats) -> Floats:
    """Variates over weights, infinite where the weight is 0."""
    return np.divide(variates, weights, out=np.full(len(variates), np.inf), where=weights > 0)
