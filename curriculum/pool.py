"""The ledger's prompts as columns in memory, so that a draw from a million of them takes
milliseconds.

Untried prompts of one cell are alike: they are weighed once and drawn as one. Only prompts with
rollouts of their own are weighed one by one."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curriculum.difficulty_groups import Belief, beliefs
from curriculum.ledger import Ledger
from curriculum.posterior import Beta, Floats

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Weigh = Callable[[Floats, Floats, Floats], Floats]
"""Weights from a, b of the believed Beta and the age (versions since the last rollouts, one more if
there are none)."""


class Pool:
    """Columns in the order of the prompts' ids; `prior` as in `curriculum.config.Posterior`."""

    def __init__(self, ledger: Ledger, *, decay: float, prior: str = "cells") -> None:
        self.ledger, self.decay, self.judged = ledger, decay, prior == "judge"
        names: tuple[str, ...] = (
            "id",
            "capability",
            "cell",
            "prior_a",
            "prior_b",
            "passes",
            "fails",
            "seen_version",
            "state",
        )
        names += ("state_version", "drawn")
        columns = list(zip(*ledger.columns(*names), strict=True)) or [()] * len(names)
        self.ids: tuple[str, ...] = columns[0]
        self.place = {id: place for place, id in enumerate(self.ids)}
        self.capabilities = sorted(set(columns[1]))
        numbers = {name: number for number, name in enumerate(self.capabilities)}
        self.capability = np.array([numbers[name] for name in columns[1]], dtype=np.int16)
        self.difficulty_group = np.array(columns[2], dtype=np.int64)
        self.prior_a, self.prior_b = (np.array(columns[i], dtype=np.float64) for i in (3, 4))
        self.passes, self.fails = (np.array(columns[i], dtype=np.float64) for i in (5, 6))
        self.seen, self.changed = (
            np.array([_known(v) for v in columns[i]], dtype=np.int64) for i in (7, 9)
        )
        self.resting = np.array([state == "retired" for state in columns[8]], dtype=np.bool_)
        self.drawn = np.array(columns[10], dtype=np.int64)
        self._by_cell = np.argsort(self.difficulty_group, kind="stable")
        self._cells = ledger.difficulty_groups()
        self._bounds = np.searchsorted(
            self.difficulty_group[self._by_cell], np.arange(len(self._cells) + 2)
        )
        # The capability of each cell's prompts, by the cell's id.
        self.owner = np.zeros(len(self._cells) + 1, dtype=np.int16)
        self.owner[self.difficulty_group] = self.capability
        self._leaves = np.unique(self.difficulty_group).tolist()
        self._known: dict[int, Belief] = {}
        self._known_at = -1
        self._untried = self._count_untried()
        self._sizes = self._by_capability(self.capability)

    def _count_untried(self) -> Indices:
        """Untried prompts by cell; none where every prompt has its own prior."""
        difficulty_groups = (
            self.difficulty_group[:0] if self.judged else self.difficulty_group[self.seen < 0]
        )
        return np.bincount(difficulty_groups, minlength=len(self.owner))

    def refresh(self, ids: Iterable[str]) -> None:
        """Read some prompts and all cells again."""
        for id in ids:
            row, place = self.ledger.row(id), self.place[id]
            self.passes[place], self.fails[place], self.drawn[place] = (
                row.passes,
                row.fails,
                row.drawn,
            )
            if self.seen[place] < 0 <= _known(row.seen_version) and not self.judged:
                self._untried[self.difficulty_group[place]] -= 1
            self.seen[place], self.changed[place] = (
                _known(row.seen_version),
                _known(row.state_version),
            )
            self.resting[place] = row.resting
        self._cells, self._known = self.ledger.difficulty_groups(), {}

    def sizes(self, mask: Mask | None = None) -> dict[str, int]:
        """Prompts by capability."""
        return dict(self._sizes) if mask is None else self._by_capability(self.capability[mask])

    def _by_capability(self, capabilities: NDArray[np.int16]) -> dict[str, int]:
        counts = np.bincount(capabilities, minlength=len(self.capabilities))
        return dict(zip(self.capabilities, counts.tolist(), strict=True))

    @property
    def unfit(self) -> Mask:
        """Prompts that rest without a graded rollout: none can be rolled out (`UNFIT` in
        `common.faults`)."""
        return self.resting & (self.passes + self.fails == 0)

    def free(self, exclude: Collection[str]) -> Mask:
        """Prompts that neither rest nor are in `exclude`."""
        mask = ~self.resting
        mask[[self.place[id] for id in exclude]] = False
        return mask

    def cell_beliefs(self, version: int) -> dict[int, Belief]:
        """What is believed of untried prompts, by the cell that they belong to."""
        return self._beliefs(self._leaves, version)

    def _beliefs(self, difficulty_groups: list[int], version: int) -> dict[int, Belief]:
        if self._known_at != version:
            self._known, self._known_at = {}, version
        return beliefs(self._cells, difficulty_groups, version, self.decay, self._known)

    def posterior(self, places: Indices, version: int) -> tuple[Floats, Floats]:
        """a and b of what is believed of some prompts: their kind's (or judge's) prior and their
        own faded rollouts."""
        if self.judged:
            prior_a, prior_b = self.prior_a[places], self.prior_b[places]
        else:
            prior_a, prior_b = self._of_kind(self.difficulty_group[places], version)
        left = self.decay ** np.maximum(version - self.seen[places], 0)
        return prior_a + left * self.passes[places], prior_b + left * self.fails[places]

    def _of_kind(self, difficulty_groups: Indices, version: int) -> tuple[Floats, Floats]:
        """a and b of untried prompts of some cells."""
        a, b = np.zeros(len(self.owner)), np.zeros(len(self.owner))
        for difficulty_group, belief in self._beliefs(
            np.unique(difficulty_groups).tolist(), version
        ).items():
            a[difficulty_group], b[difficulty_group] = (
                belief.strength * belief.mean,
                belief.strength * (1 - belief.mean),
            )
        return a[difficulty_groups], b[difficulty_groups]

    def believed(self, ids: Sequence[str], version: int) -> list[Beta]:
        """What is believed of some prompts' pass rates."""
        a, b = self.posterior(np.array([self.place[id] for id in ids], dtype=np.int64), version)
        return [Beta(*pair) for pair in zip(a.tolist(), b.tolist(), strict=True)]

    def select(self, mask: Mask, version: int) -> "Selection":
        """The prompts of a mask and what is believed of them at policy `version`."""
        untried = np.zeros_like(mask) if self.judged else self.seen < 0
        singles, crowd = np.flatnonzero(mask & ~untried), mask & untried
        # Few untried prompts lie outside of a mask: counting those is cheaper than counting the
        # crowd.
        outside = self.difficulty_group[np.flatnonzero(untried & ~mask)]
        counts = self._untried - np.bincount(outside, minlength=len(self.owner))
        difficulty_groups = np.flatnonzero(counts)
        age = (version - self.seen[singles]).astype(np.float64)
        of_singles = (*self.posterior(singles, version), age)
        of_cells = (
            *self._of_kind(difficulty_groups, version),
            np.full(len(difficulty_groups), version + 1.0),
        )
        return Selection(
            self, crowd, singles, of_singles, difficulty_groups, counts[difficulty_groups], of_cells
        )

    def weighed(self, mask: Mask, weigh: Weigh, version: int) -> "Weighed":
        """The prompts of a mask with their weights."""
        return self.select(mask, version).weighed(weigh)

    def members(self, difficulty_group: int, crowd: Mask) -> Indices:
        """The prompts of a cell that are in a mask."""
        inside = self._by_cell[self._bounds[difficulty_group] : self._bounds[difficulty_group + 1]]
        return inside[crowd[inside]]


@dataclass(frozen=True)
class Selection:
    """Some prompts: those with rollouts of their own one by one, the untried ones of a cell
    together."""

    pool: Pool
    crowd: Mask
    """The untried ones."""
    singles: Indices
    of_singles: tuple[Floats, Floats, Floats]
    """a, b and age of each, what a weight is made of."""
    difficulty_groups: Indices
    counts: Indices
    """Prompts of each cell in the crowd."""
    of_cells: tuple[Floats, Floats, Floats]

    def weighed(self, weigh: Weigh) -> "Weighed":
        """These prompts with weights."""
        singles, difficulty_groups = weigh(*self.of_singles), weigh(*self.of_cells)
        return Weighed(
            self.pool,
            self.crowd,
            self.singles,
            singles,
            self.difficulty_groups,
            self.counts,
            difficulty_groups,
        )

    def sizes(self) -> dict[str, int]:
        """Prompts by capability."""
        return self.weighed(lambda a, b, age: np.ones_like(a)).at_least(1.0)


@dataclass(frozen=True)
class Weighed:
    """Prompts with weights: some one by one, the untried ones of a cell together."""

    pool: Pool
    crowd: Mask
    """The prompts that are weighed together with their cell."""
    singles: Indices
    single_weights: Floats
    difficulty_groups: Indices
    counts: Indices
    """Prompts of each cell in the crowd."""
    cell_weights: Floats
    """Weight of one prompt of each cell."""

    def at_least(self, weight: float) -> dict[str, int]:
        """Prompts of this weight or more, by capability."""
        found = np.bincount(
            self.pool.capability[self.singles[self.single_weights >= weight]],
            minlength=len(self.pool.capabilities),
        )
        enough = self.cell_weights >= weight
        np.add.at(found, self.pool.owner[self.difficulty_groups[enough]], self.counts[enough])
        return dict(zip(self.pool.capabilities, found.tolist(), strict=True))

    @property
    def mean_weight(self) -> float:
        """The mean weight of a prompt."""
        total = self.single_weights.sum() + (self.counts * self.cell_weights).sum()
        return float(total / max(len(self.singles) + self.counts.sum(), 1))

    def sample(self, capability: str, count: int, rng: np.random.Generator) -> list[str]:
        """`count` ids without replacement, each next one in proportion to its weight among those
        left.

        The smallest of exponential variates over their weights do that (Efraimidis and Spirakis);
        of a cell's c alike prompts, the smallest variates come at gaps of rates c w, (c - 1) w, and
        so on. Weight 0 comes last."""
        pool, number = self.pool, self.pool.capabilities.index(capability)
        mine = pool.capability[self.singles] == number
        singles, weights = self.singles[mine], self.single_weights[mine]
        keys, owners = (
            [_over(rng.exponential(size=len(singles)), weights)],
            [np.full(len(singles), -1)],
        )
        for difficulty_group, size, weight in zip(
            self.difficulty_groups, self.counts, self.cell_weights, strict=True
        ):
            if pool.owner[difficulty_group] == number:
                most = min(count, int(size))
                rates = (size - np.arange(most)) * weight
                keys.append(np.cumsum(_over(rng.exponential(size=most), rates)))
                owners.append(np.full(most, difficulty_group))
        order = _smallest(np.concatenate(keys), count)
        owner = np.concatenate(owners)[order]
        chosen = singles[order[owner == -1]].tolist()
        for difficulty_group, size in zip(
            *np.unique(owner[owner >= 0], return_counts=True), strict=True
        ):
            chosen += rng.choice(
                pool.members(int(difficulty_group), self.crowd), size=int(size), replace=False
            ).tolist()
        return [pool.ids[place] for place in chosen]


def _smallest(keys: Floats, count: int) -> Indices:
    """Places of the `count` smallest keys, in order."""
    if not 0 < count < len(keys):
        return np.argsort(keys, kind="stable")[:count]
    chosen = np.argpartition(keys, count - 1)[:count]
    return chosen[np.argsort(keys[chosen], kind="stable")]


def _known(version: int | None) -> int:
    return -1 if version is None else version


def _over(variates: Floats, weights: Floats) -> Floats:
    return np.divide(variates, weights, out=np.full(len(variates), np.inf), where=weights > 0)
