"""What a judge said of a prompt, with every attempt kept; written one JSON line a prompt."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import RunFailed


@dataclass(frozen=True, slots=True)
class Attempt:
    """One completion, or the fault that there is in its place."""

    text: str
    finish: str
    """How it ended: `stop`, `length` (cut off at `max_tokens`) or `none` (there is no completion)."""
    tokens: int
    """Completion tokens, where known; 0 otherwise."""
    reward: float | None
    """The verifier's reward, 0 to 1; None when it could not grade."""
    passed: bool
    answer: str | None
    """What the verifier read out of the text; empty: nothing. None: there was no grade."""
    fault: str | None
    """Why there is no grade."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A prompt's attempts and what follows from them."""

    id: str
    attempts: list[Attempt]
    reference_logprob: float | None
    """Mean log-probability of the reference answer's tokens after the prompt (nats a token); None: not available."""
    reference_note: str | None
    """Why the likelihood is not available."""

    @property
    def graded(self) -> int:
        """Attempts with a grade. The others are faults and count neither for nor against the prompt."""
        return sum(attempt.fault is None for attempt in self.attempts)

    @property
    def passed(self) -> int:
        return sum(attempt.fault is None and attempt.passed for attempt in self.attempts)

    @property
    def cut_off(self) -> int:
        """Attempts that ended at the length limit, graded or not."""
        return sum(attempt.finish == "length" for attempt in self.attempts)

    @property
    def unreadable(self) -> int:
        """Graded attempts in which the verifier found no answer to read."""
        return sum(attempt.fault is None and not attempt.answer for attempt in self.attempts)

    @property
    def faults(self) -> dict[str, int]:
        """Attempts without a grade, by reason."""
        return dict(sorted(Counter(attempt.fault for attempt in self.attempts if attempt.fault is not None).items()))

    @property
    def pass_rate(self) -> float | None:
        """Posterior mean (passed + 1) / (graded + 2), so that 1 of 1 is less easy than 4 of 4; None if ungraded."""
        return (self.passed + 1) / (self.graded + 2) if self.graded else None

    def summary(self) -> dict[str, Any]:
        """The verdict without its attempts, as JSON values."""
        names = ("passed", "graded", "cut_off", "unreadable", "faults", "pass_rate")
        values = {name: getattr(self, name) for name in names}
        return values | {"reference_logprob": self.reference_logprob, "reference_note": self.reference_note}

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id} | self.summary() | {"attempts": [asdict(attempt) for attempt in self.attempts]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Verdict":
        """Inverse of `to_json`. RunFailed if the value is no verdict."""
        try:
            attempts = [Attempt(**attempt) for attempt in value["attempts"]]
            return cls(value["id"], attempts, value["reference_logprob"], value["reference_note"])
        except (KeyError, TypeError) as error:
            raise RunFailed(f"not a verdict: {str(value)[:80]} ({error})", "redo the judge filter") from error
