"""One prompt in the curriculum: plain values that the ledger stores and the selection reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curriculum.posterior import Beta, faded
from curriculum.spread import rewards_of

PromptState = Literal["active", "retired", "reactivated"]
EVIDENCE = ("passes", "fails", "rewards", "squares")
"""Fields of `PromptRecord` that fade."""


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A prompt that is to be added to the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    verdict: dict[str, Any] | None = None
    """The judge's verdict, as JSON values."""
    settings: str = ""
    """Difficulty settings of its source, as canonical text. Prompts of equal settings are assumed
    to be similarly hard."""

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the difficulty groups that the prompt belongs to, from wide to narrow."""
        return self.capability, self.source, self.settings, judged_ease(self.verdict)


def judged_ease(verdict: dict[str, Any] | None) -> str:
    """How often the judge solved the prompt, or how easy it rated it, in six coarse classes."""
    if not verdict or not verdict.get("graded"):
        return "unjudged"
    share = verdict["passed"] / verdict["graded"] if "passed" in verdict else verdict["ease"]
    return next(name for limit, name in _EASE_CLASSES if share <= limit)


_EASE_CLASSES = (
    (0.0, "never"),
    (0.34, "rarely"),
    (0.67, "sometimes"),
    (0.99, "mostly"),
    (1.0, "always"),
)


@dataclass(frozen=True, slots=True)
class Observation:
    """Graded rollouts of one prompt, sampled from one policy version."""

    id: str
    passes: int
    fails: int
    faults: Mapping[str, int] = field(default_factory=dict)
    """Rollouts that could not be graded, by reason. They are no evidence."""
    surprise: float | None = None
    """For a prompt observed before: its pass rate minus its estimate, plus its difficulty group's
    estimate. None for a first observation."""
    continuation: bool = False
    """Further rollouts of a group that is recorded already. They update the prompt but not its
    difficulty groups."""
    rewards: tuple[float, ...] = ()
    """Rewards of the graded rollouts, highest first; none given: 1 for a pass, 0 for a fail."""

    def __post_init__(self) -> None:
        if min(self.passes, self.fails, *self.faults.values()) < 0:
            raise ValueError(f"negative counts: {self}")
        rewards = rewards_of(self.passes, self.fails, self.rewards)
        object.__setattr__(self, "rewards", rewards)


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A prompt in the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    settings: str = ""
    difficulty_group: int = 0
    """Id of its narrowest difficulty group."""
    passes: float = 0.0
    """Evidence at `seen_version`, older evidence faded to that version."""
    fails: float = 0.0
    seen_version: int | None = None
    """Policy version of the last observation; None: never observed."""
    drawn: int = 0
    """Groups generated for the prompt, probes included."""
    faults: dict[str, int] = field(default_factory=dict)
    """Rollouts that could not be graded, by reason. They enter no estimate."""
    state: PromptState = "active"
    state_version: int | None = None
    """Policy version at which the state last changed; None: never."""
    verdict: dict[str, Any] | None = None
    rewards: float = 0.0
    """Sum of the rewards of the passes and fails, which fades as they do: the mean reward is
    rewards / (passes + fails)."""
    squares: float = 0.0
    """Sum of their squares: the variance is squares / (passes + fails) less the mean squared."""

    @property
    def retired(self) -> bool:
        return self.state == "retired"

    def evidence(self, decay: float, version: int) -> tuple[float, float]:
        """(passes, fails) faded to policy `version`. Raises ValueError if it was observed with a
        later one."""
        if self.seen_version is None:
            return 0.0, 0.0
        versions = version - self.seen_version
        return faded(self.passes, decay, versions), faded(self.fails, decay, versions)

    def reward_sums(self, decay: float, version: int) -> tuple[float, float]:
        """(rewards, squares), faded as `evidence`."""
        if self.seen_version is None:
            return 0.0, 0.0
        versions = version - self.seen_version
        return faded(self.rewards, decay, versions), faded(self.squares, decay, versions)

    def posterior(self, decay: float, version: int) -> Beta:
        """Posterior of the pass rate at policy `version`: the judge's prior and the prompt's own
        rollouts."""
        passes, fails = self.evidence(decay, version)
        return Beta(self.prior.a + passes, self.prior.b + fails)
