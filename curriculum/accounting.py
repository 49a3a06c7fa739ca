"""What a curriculum's rollouts cost, how their groups ended, and how accurate its predictions
were."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from curriculum.calibration import Calibration
from curriculum.posterior import Prediction
from curriculum.requests import RolloutResult
from curriculum.spread import LEAST_SPREAD

EDGES = (0.2, 0.4, 0.6, 0.8)
"""Pass rates at which prompts are divided into classes of difficulty."""
OUTCOMES = ("trained", "zero_easy", "zero_hard", "pilot", "surplus", "faulty", "probed")
"""How a group can end: trained on; without a spread of rewards, some or all passing; without one,
all failing; a pilot whose rest was not rolled out; mixed but not needed; without a graded rollout;
sampled only to measure."""
PREDICTIONS = ("predicted", "committed")
"""The two predictions of P(mixed) whose calibration is kept."""


@dataclass
class GroupCounts:
    """A prompt's rollouts in one step."""

    passes: int = 0
    fails: int = 0
    faults: int = 0
    tokens: int = 0
    lowest: float = math.inf
    """The lowest reward, and the highest one."""
    highest: float = -math.inf
    complete: bool = False
    """The whole group was rolled out, not the pilot alone."""

    def add(self, result: RolloutResult) -> None:
        self.passes, self.fails = self.passes + result.passes, self.fails + result.fails
        self.faults += sum(result.faults.values())
        self.tokens += result.tokens
        self.lowest = min(self.lowest, *result.rewards, math.inf)
        self.highest = max(self.highest, *result.rewards, -math.inf)

    @property
    def mixed(self) -> bool:
        """Whether the rewards have a spread: of rewards of 0 and 1, if some pass and some fail."""
        return self.highest - self.lowest >= LEAST_SPREAD

    @property
    def rollouts(self) -> int:
        return self.passes + self.fails + self.faults

    def mixed_probability(self, estimate: Prediction, more: int) -> float:
        """P(the group is mixed after `more` rollouts); `estimate` already includes those it has."""
        if self.mixed:
            return 1.0
        if self.passes:
            return 1.0 - estimate.all_pass(more) * estimate.pass_tie**more
        if self.fails:
            return 1.0 - estimate.all_fail(more) * estimate.fail_tie**more
        return estimate.mixed(more)

    def outcome(self, trained: bool) -> str:
        """One of OUTCOMES, except `probed`."""
        if self.mixed:
            return "trained" if trained else "surplus"
        if not self.passes + self.fails:
            return "faulty"
        if not self.complete:
            return "pilot"
        return "zero_easy" if self.passes else "zero_hard"


@dataclass
class RolloutAccounting:
    """Sums over a stage; kept in the ledger between steps. The counters are by outcome."""

    rollouts: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    saved_rollouts: float = 0.0
    saved_tokens: float = 0.0
    predicted: Calibration = field(default_factory=Calibration)
    """Of the prediction before any rollout of the step."""
    committed: Calibration = field(default_factory=Calibration)
    """Of the prediction after a pilot that was not mixed yet."""

    def record(self, group: GroupCounts, outcome: str) -> None:
        self.groups[outcome] += 1
        self.rollouts[outcome] += group.rollouts
        self.tokens[outcome] += group.tokens

    def record_saved(
        self, mixed: int, rollouts: int, tokens: int, pool_rate: float, group_size: int
    ) -> None:
        """Add the rollouts that random drawing needs for as many mixed groups, minus those spent.

        At random a group is mixed with the pool's mean probability `pool_rate`, so each mixed
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
        """Share of all generated tokens by outcome, share of the committed groups that were mixed,
        rollouts and tokens saved, and calibration."""
        total = max(sum(self.tokens.values()), 1)
        shares = {f"tokens/{outcome}": self.tokens[outcome] / total for outcome in OUTCOMES}
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
    """Share of prompts in each class of estimated pass rate."""
    values = list(rates)
    bounds = [0.0, *EDGES, 1.0]
    counts = Counter(sum(rate >= edge for edge in EDGES) for rate in values)
    names = [f"pass_rate_{low:.1f}_{high:.1f}" for low, high in pairwise(bounds)]
    return {name: counts[i] / len(values) if values else 0.0 for i, name in enumerate(names)}
