"""A judge's verdict on a prompt, with every reply; written as one JSON line per prompt."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

JudgeKind = Literal["attempts", "rubric", "pairwise"]
UNREACHABLE_FAULTS = frozenset({"endpoint_timeout", "endpoint_unreachable"})
TRANSPORT_FAULTS = UNREACHABLE_FAULTS | {"endpoint_error", "not_asked"}
"""Faults between us and the judge. The question is asked once more."""
UNCACHED_FAULTS = TRANSPORT_FAULTS | {"endpoint_refuses"}
"""Faults that may not recur with other settings or at another time. Such a reply is not cached."""
RETRIED_FAULTS = frozenset({"unreadable", "refused", "cut_off", "empty_reply"})
"""Faults of the reply itself. Another sample may be free of them, so the question is asked again,
up to `retries` times."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a judge, or the fault that occurred instead."""

    text: str
    finish: str
    """The finish reason: `stop`, `length` (cut off at the length limit) or `none` (no reply). Any
    other finish reason of a complete reply is kept as the endpoint gave it."""
    tokens: int
    """Completion tokens; 0 if unknown."""
    answer: str | None
    """The answer parsed from the text; None if there is a fault."""
    value: float | None
    """An attempt: 1 passed, 0 failed. A rating: its mean under the token probabilities, 1 to 3. A
    comparison: the probability that this prompt is the harder one. None if there is a fault."""
    fault: str | None
    """Why there is no value: `unreadable`, `refused`, `cut_off`, `too_long`, `timeout`, ..."""
    about: str | None = None
    """Of a comparison: id of the other prompt."""
    first: bool = False
    """Of a comparison: whether this prompt was shown first."""
    how: str = ""
    """How the reply was obtained, if the endpoint did not take the usual request: `5 samples`, `its
    own temperature`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The replies about one prompt and the scores computed from them."""

    id: str
    kind: JudgeKind
    replies: list[Reply]
    ease: float | None
    """How easy the prompt is, 0 to 1. Attempts: posterior mean of the pass rate. None: no reply has
    a value."""
    low: float | None = None
    high: float | None = None
    """Bounds of the 90 % credible interval of the pass rate (attempts only)."""
    left: int = 0
    """Attempts that were not made, because the prompt's fate was decided (`judges.fate`)."""

    @property
    def graded(self) -> int:
        """Number of replies with a value. Faults count neither as passed nor as failed."""
        return sum(reply.fault is None for reply in self.replies)

    @property
    def passed(self) -> int:
        """Number of attempts that passed."""
        return sum(reply.value == 1.0 for reply in self.replies) if self.kind == "attempts" else 0

    @property
    def pass_evidence(self) -> tuple[float, float]:
        """Passes and attempts as if those that were not made had gone like the graded ones.

        Who is asked on depends on the replies. Sums over prompts would count those near the cut
        more than the others."""
        if not self.graded:
            return 0.0, 0.0
        whole = self.graded + self.left
        return self.passed * whole / self.graded, float(whole)

    @property
    def faults(self) -> dict[str, int]:
        """Number of replies without a value, by fault."""
        return dict(
            sorted(
                Counter(reply.fault for reply in self.replies if reply.fault is not None).items()
            )
        )

    @property
    def description(self) -> str:
        """The verdict in words."""
        if self.kind == "attempts":
            words = f"{self.passed} of {self.graded} attempts passed"
        elif self.kind == "rubric":
            rating = sum(reply.value or 0.0 for reply in self.replies) / max(self.graded, 1)
            words = f"rated {rating:.2f} of 3"
        else:
            words = f"ease {self.ease or 0.0:.3f} from {self.graded} comparisons"
        notes = [f"{count} {reason}" for reason, count in self.faults.items()]
        notes += [f"{self.left} not asked for"] if self.left else []
        return f"{words} ({', '.join(notes)})" if notes else words

    def summary(self) -> dict[str, Any]:
        """The verdict without its replies, as JSON values."""
        names = ("kind", "ease", "low", "high", "graded", "faults")
        passed = {"passed": self.passed} if self.kind == "attempts" else {}
        left = {"left": self.left} if self.left else {}
        return {name: getattr(self, name) for name in names} | passed | left

    def to_json(self) -> dict[str, Any]:
        return (
            {"id": self.id}
            | self.summary()
            | {"replies": [asdict(reply) for reply in self.replies]}
        )


def endpoint_quote(replies: Iterable[tuple[str | None, str]]) -> str:
    """The endpoint's most frequent error message among (fault, text) pairs, ready to append to a
    message; empty if there is none."""
    messages = Counter(text for fault, text in replies if text and fault in UNCACHED_FAULTS)
    return f'; the endpoint said "{messages.most_common(1)[0][0]}"' if messages else ""


def faults_of(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Number of replies without a value over all verdicts, by fault."""
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total.update(verdict.faults)
    return dict(sorted(total.items()))
