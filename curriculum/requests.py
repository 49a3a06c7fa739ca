"""What a curriculum asks to be rolled out, the results it gets back, and what it selects to train
on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from common.faults import CUT_OFF
from curriculum.spread import rewards_of

Purpose = Literal["group", "pilot", "rest", "probe"]


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """Sample `rollouts` completions of a prompt."""

    id: str
    rollouts: int
    purpose: Purpose
    """`group`: a whole group; `pilot`: its first rollouts; `rest`: the remaining ones after a
    pilot; `probe`: only to measure."""


@dataclass(frozen=True, slots=True)
class RolloutResult:
    """The graded rollouts of one request."""

    passes: int
    fails: int
    faults: Mapping[str, int] = field(default_factory=dict)
    """Rollouts without a grade, by reason."""
    tokens: int = 0
    """Completion tokens generated."""
    cut_off: int = 0
    """Of the fails, those that were cut off and are counted as wrong."""
    rewards: tuple[float, ...] = ()
    """Rewards of passes and fails; the passes have the higher ones. None given: 1 for a pass, 0 for
    a fail."""

    def __post_init__(self) -> None:
        rewards = rewards_of(self.passes, self.fails, self.rewards)
        object.__setattr__(self, "rewards", rewards)

    @property
    def ungraded(self) -> dict[str, int]:
        """Rollouts that no verifier called right or wrong, by reason: faults, and fails that were
        cut off."""
        return {**self.faults, **({CUT_OFF: self.cut_off} if self.cut_off else {})}


@dataclass(frozen=True, slots=True)
class Shortage:
    """A capability with fewer useful prompts than places in a step."""

    places: int
    """Groups of the step that are its share."""
    trained: int
    """Groups of it that train; fewer than `places`."""
    taken: int
    """Places that other capabilities took over."""
    useful: int
    """Prompts of it that the step could draw and that count as useful."""
    prompts: int
    """Prompts of it in the pool."""
    rate: float
    """Their mean estimated pass rate."""


@dataclass(frozen=True, slots=True)
class StepSelection:
    """The result of a step."""

    train: list[str]
    """Prompts whose groups (pilot and rest together) are mixed and go through the model."""
    counted: list[str]
    """Prompts whose groups' tokens the loss is divided by."""
    metrics: dict[str, float]
    quota_shift: dict[str, int]
    """Change of each capability's quota: negative where it lacks prompts, positive where it takes
    over the difference."""
    shortages: dict[str, Shortage]
    """By capability, where one falls short of its share."""
