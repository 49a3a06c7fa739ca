"""What a curriculum's rollouts cost, what became of them, and how well it foretold them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from curriculum.posterior import Beta

BINS = 10

EDGES = (0.2, 0.4, 0.6, 0.8)
"""Pass rates that part the shares of difficulty."""
FATES = ("trained", "zero_easy", "zero_hard", "pilot", "surplus", "faulty", "probed")
"""What can become of a group: trained on; without a spread (all solved, all failed); a pilot not
committed to; mixed but not needed; without one graded rollout; sampled to measure only."""

PREDICTIONS = ("predicted", "committed")


@dataclass
class GroupCounts:
    """A prompt's rollouts in one step."""

    passes: int = 0
    fails: int = 0
    faults: int = 0
    tokens: int = 0
    full: bool = False
    """A whole group, not a pilot alone."""

    def add(self, passes: int, fails: int, faults: int, tokens: int) -> None:
        self.passes, self.fails = self.passes + passes, self.fails + fails
        self.faults, self.tokens = self.faults + faults, self.tokens + tokens

    @property
    def mixed(self) -> bool:
        return self.passes > 0 and self.fails > 0

    @property
    def rollouts(self) -> int:
        return self.passes + self.fails + self.faults

    def chance(self, believed: Beta, more: int) -> float:
        """P(the group is mixed after `more` rollouts), `believed` after those it has."""
        if self.mixed:
            return 1.0
        if self.passes:
            return 1.0 - believed.all_pass(more)
        if self.fails:
            return 1.0 - believed.all_fail(more)
        return believed.mixed(more)

    def fate(self, trained: bool) -> str:
        """One of FATES, `probed` excepted."""
        if self.mixed:
            return "trained" if trained else "surplus"
        if not self.passes + self.fails:
            return "faulty"
        if not self.full:
            return "pilot"
        return "zero_easy" if self.passes else "zero_hard"


@dataclass
class Calibration:
    """Foretold probabilities that a group is mixed, by tenths, against what came."""

    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    predicted: list[float] = field(default_factory=lambda: [0.0] * BINS)
    observed: list[int] = field(default_factory=lambda: [0] * BINS)
    squared: float = 0.0

    def book(self, probability: float, mixed: bool) -> None:
        place = min(int(probability * BINS), BINS - 1)
        self.counts[place] += 1
        self.predicted[place] += probability
        self.observed[place] += mixed
        self.squared += (probability - mixed) ** 2

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def brier(self) -> float:
        """Mean squared difference between what was foretold and what came (Brier 1950); 0 without
        any."""
        return self.squared / self.total if self.total else 0.0

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean distance of foretold and actual share over the bins,
        weighed by size."""
        if not self.total:
            return 0.0
        return (
            sum(abs(f - c) for f, c in zip(self.predicted, self.observed, strict=True)) / self.total
        )

    def curve(self) -> list[dict[str, float]]:
        """The reliability curve: mean foretold and actual share of each tenth that was ever
        foretold."""
        rows = zip(self.counts, self.predicted, self.observed, strict=True)
        return [{"foretold": f / n, "came": c / n, "groups": n} for n, f, c in rows if n]


@dataclass
class RolloutAccounting:
    """Sums over a stage; kept in the ledger between steps."""

    rollouts: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    saved_rollouts: float = 0.0
    saved_tokens: float = 0.0
    predicted: Calibration = field(default_factory=Calibration)
    """Before any rollout of the step."""
    committed: Calibration = field(default_factory=Calibration)
    """After a pilot that was not mixed yet."""

    def book(self, tally: GroupCounts, fate: str) -> None:
        self.groups[fate] += 1
        self.rollouts[fate] += tally.rollouts
        self.tokens[fate] += tally.tokens

    def book_saved(
        self, mixed: int, rollouts: int, tokens: int, pool_rate: float, group_size: int
    ) -> None:
        """What was saved against drawing at random: its rollouts for as many mixed groups, less
        what was spent.

        At random, a group is mixed with the pool's mean probability (`pool_rate`), so each mixed
        one takes group_size / pool_rate rollouts. Tokens in proportion."""
        if rollouts and pool_rate > 0:
            saved = mixed * group_size / pool_rate - rollouts
            self.saved_rollouts += saved
            self.saved_tokens += saved * tokens / rollouts

    def to_json(self) -> dict[str, Any]:
        plain = {
            name: dict(sorted(getattr(self, name).items()))
            for name in ("rollouts", "tokens", "groups")
        }
        return {
            **plain,
            "saved_rollouts": self.saved_rollouts,
            "saved_tokens": self.saved_tokens,
            **{kind: vars(getattr(self, kind)).copy() for kind in PREDICTIONS},
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "RolloutAccounting":
        counters: dict[str, Any] = {
            name: Counter(value[name]) for name in ("rollouts", "tokens", "groups")
        }
        saved: dict[str, Any] = {name: value[name] for name in ("saved_rollouts", "saved_tokens")}
        calibrations: dict[str, Any] = {kind: Calibration(**value[kind]) for kind in PREDICTIONS}
        return cls(**counters, **saved, **calibrations)

    def metrics(self) -> dict[str, float]:
        """Shares of all generated tokens by fate so far, committed groups' share that was mixed,
        calibration."""
        total = max(sum(self.tokens.values()), 1)
        shares = {f"tokens/{fate}": self.tokens[fate] / total for fate in FATES}
        mixed = self.groups["trained"] + self.groups["surplus"]
        committed = (
            mixed + self.groups["zero_easy"] + self.groups["zero_hard"] + self.groups["faulty"]
        )
        return {
            **shares,
            "committed_mixed_share": mixed / committed if committed else 0.0,
            "saved_rollouts": self.saved_rollouts,
            "saved_tokens": self.saved_tokens,
            **{f"{kind}/brier": getattr(self, kind).brier for kind in PREDICTIONS},
            **{
                f"{kind}/calibration_error": getattr(self, kind).expected_error
                for kind in PREDICTIONS
            },
        }


def difficulty_shares(rates: Iterable[float]) -> dict[str, float]:
    """Share of prompts by believed pass rate."""
    values = list(rates)
    bounds = [0.0, *EDGES, 1.0]
    found = Counter(sum(rate >= edge for edge in EDGES) for rate in values)
    names = [f"pass_rate_{low:.1f}_{high:.1f}" for low, high in pairwise(bounds)]
    return {name: found[i] / len(values) if values else 0.0 for i, name in enumerate(names)}
