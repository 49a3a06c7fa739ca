"""What a curriculum asks of whoever rolls out, what it is told back, and what it chooses to train
on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from common.faults import CUT_OFF

Purpose = Literal["group", "pilot", "rest", "probe"]


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """Roll a prompt out so many times."""

    id: str
    rollouts: int
    purpose: Purpose
    """`group`: a whole group; `pilot`: its first rollouts; `rest`: the others; `probe`: only to
    measure."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """How the rollouts of an ask went."""

    passes: int
    fails: int
    faults: Mapping[str, int] = field(default_factory=dict)
    """Rollouts without a grade, by reason."""
    tokens: int = 0
    """Completion tokens generated."""
    cut_off: int = 0
    """Of the fails, those that were cut off and count as such."""

    @property
    def ungraded(self) -> dict[str, int]:
        """Rollouts that no verifier called right or wrong, by reason: faults, and fails that were
        cut off."""
        return {**self.faults, **({CUT_OFF: self.cut_off} if self.cut_off else {})}


@dataclass(frozen=True, slots=True)
class StepSelection:
    """The end of a step."""

    train: list[str]
    """Prompts whose groups (pilot and rest together) have a spread of rewards and go through the
    model."""
    counted: list[str]
    """Prompts whose groups' tokens the loss is divided by."""
    metrics: dict[str, float]
    quota_shift: dict[str, int]
    """Places by capability that were given up for want of useful prompts (negative), or taken
    over."""
