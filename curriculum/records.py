"""One prompt as the curriculum knows it: a plain value that the ledger stores and the selection
reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from curriculum.posterior import Beta, faded

PromptState = Literal["active", "retired", "recalled"]


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A prompt as it comes into the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    verdict: dict[str, Any] | None = None
    """What the judge said, as JSON values."""
    settings: str = ""
    """Difficulty settings of its source, as canonical text: prompts of equal settings are thought
    alike."""

    @property
    def path(self) -> tuple[str, ...]:
        """The cells that the prompt belongs to, from wide to narrow."""
        return self.capability, self.source, self.settings, judged(self.verdict)


def judged(verdict: dict[str, Any] | None) -> str:
    """How easily the judge solved it, or found it, in words coarse enough for prompts to share."""
    if not verdict or not verdict.get("graded"):
        return "unjudged"
    share = verdict["passed"] / verdict["graded"] if "passed" in verdict else verdict["ease"]
    return next(name for limit, name in _JUDGED if share <= limit)


_JUDGED = ((0.0, "never"), (0.34, "rarely"), (0.67, "sometimes"), (0.99, "mostly"), (1.0, "always"))


@dataclass(frozen=True, slots=True)
class Observation:
    """Rollouts of one prompt by one policy version, graded."""

    id: str
    passes: int
    fails: int
    faults: Mapping[str, int] = field(default_factory=dict)
    """Rollouts that could not be graded, by reason: no evidence."""
    surprise: float | None = None
    """For a prompt seen before: its pass rate less what was believed of it, plus its cell's rate.
    None: not seen."""
    more: bool = False
    """Further rollouts of a group that is booked already: they say nothing new about the prompt's
    kind."""

    def __post_init__(self) -> None:
        if min(self.passes, self.fails, *self.faults.values()) < 0:
            raise ValueError(f"negative counts: {self}")


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A prompt in the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    settings: str = ""
    difficulty_group: int = 0
    """The narrowest cell that it belongs to."""
    passes: float = 0.0
    """Evidence at `seen_version`, older evidence faded to that version."""
    fails: float = 0.0
    seen_version: int | None = None
    """Policy version of the last observation; None: never observed."""
    drawn: int = 0
    """Groups generated for the prompt, probes included."""
    faults: dict[str, int] = field(default_factory=dict)
    """Rollouts that could not be graded, by reason; part of no estimate."""
    state: PromptState = "active"
    state_version: int | None = None
    """Policy version at which the state last changed; None: never."""
    verdict: dict[str, Any] | None = None

    @property
    def resting(self) -> bool:
        return self.state == "retired"

    def evidence(self, decay: float, version: int) -> tuple[float, float]:
        """(passes, fails) faded to policy `version`. Raises ValueError if it was observed with a
        later one."""
        if self.seen_version is None:
            return 0.0, 0.0
        versions = version - self.seen_version
        return faded(self.passes, decay, versions), faded(self.fails, decay, versions)

    def posterior(self, decay: float, version: int) -> Beta:
        """The pass rate as believed at policy `version` from the judge's word and the prompt's own
        rollouts."""
        passes, fails = self.evidence(decay, version)
        return Beta(self.prior.a + passes, self.prior.b + fails)
