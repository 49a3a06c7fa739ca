"""The ledger's prompts as columns in memory, with their estimated pass rates.

Untried prompts of one difficulty group have one estimate. Tried prompts have their own."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np

from curriculum.candidates import Candidates, Estimates, Weigh, WeightedPrompts
from curriculum.difficulty_groups import GroupEstimate, estimates
from curriculum.ledger import Ledger
from curriculum.posterior import Floats, Prediction
from curriculum.prompt_index import Indices, Mask, PromptIndex
from curriculum.records import EVIDENCE

_COLUMNS = (
    *("id", "capability", "difficulty_group", "prior_a", "prior_b", "passes", "fails"),
    *("seen_version", "state", "rewards", "squares"),
)


class Pool:
    """Columns in the order of the prompts' ids; `prior` as in `curriculum.config.Posterior`."""

    def __init__(self, ledger: Ledger, *, decay: float, prior: str = "difficulty_groups") -> None:
        self.ledger, self.decay, self.judge_prior = ledger, decay, prior == "judge"
        self._groups = ledger.difficulty_groups()
        columns = _columns(ledger)
        self.index = PromptIndex(
            columns["id"],
            columns["capability"],
            columns["difficulty_group"],
            groups=len(self._groups),
        )
        self.ids, self.capabilities = self.index.ids, self.index.capabilities
        self.prior_a, self.prior_b, self.passes, self.fails, self.rewards, self.squares = (
            np.array(columns[name], dtype=np.float64) for name in ("prior_a", "prior_b", *EVIDENCE)
        )
        self.seen = np.array([_version(v) for v in columns["seen_version"]], dtype=np.int64)
        """Policy versions of the last rollouts; -1: none."""
        self.retired = np.array([state == "retired" for state in columns["state"]], dtype=np.bool_)
        self._narrowest = np.unique(self.index.difficulty_group).tolist()
        self._known: dict[int, GroupEstimate] = {}
        self._known_at = -1
        self._untried = self._count_untried()
        self._sizes = self.index.by_capability(self.index.capability)

    def _count_untried(self) -> Indices:
        """Untried prompts by difficulty group; none where every prompt has its own prior."""
        group_ids = self.index.difficulty_group
        group_ids = group_ids[:0] if self.judge_prior else group_ids[self.seen < 0]
        return np.bincount(group_ids, minlength=len(self.index.group_capability))

    def refresh(self, ids: Iterable[str]) -> None:
        """Read some prompts and all difficulty groups again."""
        for id in ids:
            record, position = self.ledger.record(id), self.index.position[id]
            seen = _version(record.seen_version)
            if self.seen[position] < 0 <= seen and not self.judge_prior:
                self._untried[self.index.difficulty_group[position]] -= 1
            for name in EVIDENCE:
                getattr(self, name)[position] = getattr(record, name)
            self.retired[position], self.seen[position] = record.retired, seen
        self._groups, self._known = self.ledger.difficulty_groups(), {}

    def sizes(self, mask: Mask | None = None) -> dict[str, int]:
        """Prompts by capability."""
        if mask is None:
            return dict(self._sizes)
        return self.index.by_capability(self.index.capability[mask])

    @property
    def unfit(self) -> Mask:
        """Retired prompts without a graded rollout: none of them can be rolled out (`UNFIT` in
        `common.faults`)."""
        return self.retired & (self.passes + self.fails == 0)

    def free(self, exclude: Collection[str]) -> Mask:
        """Prompts that are neither retired nor in `exclude`."""
        mask = ~self.retired
        mask[[self.index.position[id] for id in exclude]] = False
        return mask

    def group_estimates(self, version: int) -> dict[int, GroupEstimate]:
        """Estimates of the prompts' narrowest difficulty groups, by id."""
        return self._estimates(self._narrowest, version)

    def group_estimate(self, id: str, version: int) -> GroupEstimate:
        """The estimate of a prompt's narrowest difficulty group."""
        position = self.index.position[id]
        return self.group_estimates(version)[int(self.index.difficulty_group[position])]

    def _estimates(self, group_ids: list[int], version: int) -> dict[int, GroupEstimate]:
        if self._known_at != version:
            self._known, self._known_at = {}, version
        return estimates(self._groups, group_ids, version, self.decay, self._known)

    def posterior(self, positions: Indices, version: int) -> tuple[Floats, Floats]:
        """a and b of some prompts' posteriors: their difficulty group's (or the judge's) prior and
        their own faded rollouts."""
        if self.judge_prior:
            prior_a, prior_b = self.prior_a[positions], self.prior_b[positions]
        else:
            prior_a, prior_b = self._group_priors(self.index.difficulty_group[positions], version)
        left = self.decay ** np.maximum(version - self.seen[positions], 0)
        return prior_a + left * self.passes[positions], prior_b + left * self.fails[positions]

    def mean_rate(self, capability: str, version: int) -> float:
        """The mean estimated pass rate of a capability's prompts."""
        number = self.index.capabilities.index(capability)
        a, b = self.posterior(np.flatnonzero(self.index.capability == number), version)
        return float((a / (a + b)).mean())

    def _group_priors(self, group_ids: Indices, version: int) -> tuple[Floats, Floats]:
        """a and b of an untried prompt of each of the difficulty groups."""
        size = len(self.index.group_capability)
        a, b = np.zeros(size), np.zeros(size)
        known = self._estimates(np.unique(group_ids).tolist(), version)
        for group_id, estimate in known.items():
            a[group_id] = estimate.strength * estimate.mean
            b[group_id] = estimate.strength * (1 - estimate.mean)
        return a[group_ids], b[group_ids]

    def shapes(self, positions: Indices, version: int) -> tuple[Floats, Floats, Floats]:
        """`excess`, `pass_tie` and `fail_tie` of some prompts. The excess of a prompt's own faded
        rollouts is averaged with that of its difficulty group, which counts as its prior does."""
        group_ids = self.index.difficulty_group[positions]
        excess, pass_tie, fail_tie = self._group_shapes(group_ids, version)
        prior_a, prior_b = self._group_priors(group_ids, version)
        left = self.decay ** np.maximum(version - self.seen[positions], 0)
        count = left * (self.passes[positions] + self.fails[positions])
        whole = np.where(count > 0, count, 1.0)
        passes, rewards, squares = (
            left * sums[positions] / whole for sums in (self.passes, self.rewards, self.squares)
        )
        own = (squares - rewards**2) - (passes - passes**2)
        strength = prior_a + prior_b
        return (strength * excess + count * own) / (strength + count), pass_tie, fail_tie

    def _group_shapes(self, group_ids: Indices, version: int) -> tuple[Floats, Floats, Floats]:
        """`excess`, `pass_tie` and `fail_tie` of each of the difficulty groups."""
        size = len(self.index.group_capability)
        columns = np.zeros(size), np.ones(size), np.ones(size)
        known = self._estimates(np.unique(group_ids).tolist(), version)
        for group_id, estimate in known.items():
            for column, value in zip(columns, astuple(estimate.shape), strict=True):
                column[group_id] = value
        excess, pass_tie, fail_tie = (column[group_ids] for column in columns)
        return excess, pass_tie, fail_tie

    def posteriors(self, ids: Sequence[str], version: int) -> list[Prediction]:
        """What is foretold of some prompts' rewards."""
        positions = self.index.positions(ids)
        a, b = self.posterior(positions, version)
        _, pass_tie, fail_tie = self.shapes(positions, version)
        columns = (column.tolist() for column in (a, b, pass_tie, fail_tie))
        return [Prediction(*row) for row in zip(*columns, strict=True)]

    def candidates(self, mask: Mask, version: int) -> Candidates:
        """The prompts in `mask` with their estimates at policy `version`."""
        untried = np.zeros_like(mask) if self.judge_prior else self.seen < 0
        tried = np.flatnonzero(mask & ~untried)
        # Few untried prompts lie outside the mask: counting those is cheaper than counting the
        # ones inside.
        outside = self.index.difficulty_group[np.flatnonzero(untried & ~mask)]
        counts = self._untried - np.bincount(outside, minlength=len(self._untried))
        group_ids = np.flatnonzero(counts)
        age = (version - self.seen[tried]).astype(np.float64)
        group_age = np.full(len(group_ids), version + 1.0)
        return Candidates(
            index=self.index,
            untried=mask & untried,
            tried=tried,
            tried_estimates=Estimates(
                *self.posterior(tried, version), age, *self.shapes(tried, version)
            ),
            groups=group_ids,
            counts=counts[group_ids],
            group_estimates=Estimates(
                *self._group_priors(group_ids, version),
                group_age,
                *self._group_shapes(group_ids, version),
            ),
        )

    def weighted(self, mask: Mask, weigh: Weigh, version: int) -> WeightedPrompts:
        """The prompts in `mask` with their weights."""
        return self.candidates(mask, version).weighted(weigh)


def _columns(ledger: Ledger) -> dict[str, tuple[Any, ...]]:
    rows = ledger.columns(*_COLUMNS)
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    return dict(zip(_COLUMNS, columns, strict=True))


def _version(version: int | None) -> int:
    return -1 if version is None else version
