"""One prompt as the curriculum knows it: a plain value that the ledger stores and the selection reads."""

from dataclasses import dataclass, field
from typing import Any, Literal

from curriculum.posterior import Beta, faded

State = Literal["active", "retired", "recalled"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A prompt as it comes into the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    verdict: dict[str, Any] | None = None
    """What the judge said, as JSON values."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt in the ledger."""

    id: str
    capability: str
    source: str
    prior: Beta
    passes: float = 0.0
    """Evidence at `seen_version`, older evidence faded to that version."""
    fails: float = 0.0
    seen_version: int | None = None
    """Policy version of the last observation; None: never observed."""
    seen_step: int | None = None
    """Training step of the last observation."""
    drawn: int = 0
    """Groups generated for the prompt, probes included."""
    faults: dict[str, int] = field(default_factory=dict)
    """Rollouts that could not be graded, by reason; part of no estimate."""
    state: State = "active"
    state_version: int | None = None
    """Policy version at which the state last changed; None: never."""
    verdict: dict[str, Any] | None = None

    @property
    def resting(self) -> bool:
        return self.state == "retired"

    def evidence(self, decay: float, version: int) -> tuple[float, float]:
        """(passes, fails) faded to policy `version`. Raises ValueError if it was observed with a later one."""
        if self.seen_version is None:
            return 0.0, 0.0
        versions = version - self.seen_version
        return faded(self.passes, decay, versions), faded(self.fails, decay, versions)

    def posterior(self, decay: float, version: int) -> Beta:
        """The pass rate as believed at policy `version`."""
        passes, fails = self.evidence(decay, version)
        return Beta(self.prior.a + passes, self.prior.b + fails)
