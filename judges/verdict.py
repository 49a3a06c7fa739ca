"""What a judge said of a prompt, with every reply kept; written one JSON line a prompt."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["attempts", "rubric", "pairwise"]
UNREACHED = frozenset({"endpoint_timeout", "endpoint_unreachable"})
TRANSPORT = UNREACHED | {"endpoint_error", "not_asked"}
"""Faults of the way to the judge: worth asking again."""
UNKEPT = TRANSPORT | {"endpoint_refuses"}
"""Faults that another setting or day may do away with: such a reply does not stay in the cache."""
REPEATED = frozenset({"unreadable", "refused", "cut_off", "empty_reply"})
"""Faults of the reply itself: another one may be without, so they are asked for again, `retries`
times."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of a judge, or the fault that there is in its place."""

    text: str
    finish: str
    """How it ended: `stop`, `length` (cut off at its limit) or `none` (there is no reply). An
    endpoint's other word for the end of a whole reply stays as it is."""
    tokens: int
    """Completion tokens, where known; 0 otherwise."""
    answer: str | None
    """What was read out of the text; None with a fault."""
    value: float | None
    """An attempt: 1 passed, 0 failed. A rating: its mean over the token probabilities, 1 to 3. A
    comparison: the probability that this prompt is the harder one. None with a fault."""
    fault: str | None
    """Why there is no value: `unreadable`, `refused`, `cut_off`, `too_long`, `timeout`, ..."""
    about: str | None = None
    """Of a comparison: which prompt it was compared with."""
    first: bool = False
    """Of a comparison: whether this prompt stood first."""
    how: str = ""
    """How it was come by, where the endpoint does not take a request as usual: `5 samples`, `its
    own temperature`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A prompt's replies and what follows from them."""

    id: str
    kind: Kind
    replies: list[Reply]
    ease: float | None
    """How easy, 0 to 1. Attempts: posterior mean of the pass rate. None: no reply had a value."""
    low: float | None = None
    high: float | None = None
    """90 % interval of the pass rate (attempts only)."""

    @property
    def graded(self) -> int:
        """Replies with a value. The others are faults and count neither for nor against the
        prompt."""
        return sum(reply.fault is None for reply in self.replies)

    @property
    def passed(self) -> int:
        """Attempts that passed."""
        return sum(reply.value == 1.0 for reply in self.replies) if self.kind == "attempts" else 0

    @property
    def faults(self) -> dict[str, int]:
        """Replies without a value, by reason."""
        return dict(
            sorted(
                Counter(reply.fault for reply in self.replies if reply.fault is not None).items()
            )
        )

    @property
    def said(self) -> str:
        """The verdict in words."""
        if self.kind == "attempts":
            words = f"{self.passed} of {self.graded} attempts passed"
        elif self.kind == "rubric":
            rating = sum(reply.value or 0.0 for reply in self.replies) / max(self.graded, 1)
            words = f"rated {rating:.2f} of 3"
        else:
            words = f"ease {self.ease or 0.0:.3f} from {self.graded} comparisons"
        faults = ", ".join(f"{count} {reason}" for reason, count in self.faults.items())
        return f"{words}{f' ({faults})' if faults else ''}"

    def summary(self) -> dict[str, Any]:
        """The verdict without its replies, as JSON values."""
        names = ("kind", "ease", "low", "high", "graded", "faults")
        passed = {"passed": self.passed} if self.kind == "attempts" else {}
        return {name: getattr(self, name) for name in names} | passed

    def to_json(self) -> dict[str, Any]:
        return (
            {"id": self.id}
            | self.summary()
            | {"replies": [asdict(reply) for reply in self.replies]}
        )


def quoted(replies: Iterable[tuple[str | None, str]]) -> str:
    """What an endpoint said, once, of (fault, text) pairs in which it gave no reply; empty if there
    are none."""
    said = Counter(text for fault, text in replies if text and fault in UNKEPT)
    return f'; the endpoint said "{said.most_common(1)[0][0]}"' if said else ""


def faults_of(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Replies without a value over all verdicts, by reason."""
    total: Counter[str] = Counter()
    for verdict in verdicts:
        total.update(verdict.faults)
    return dict(sorted(total.items()))
