"""An answer of an evaluation, and whether it counts."""

from dataclasses import asdict, dataclass, field
from typing import Any

from common.faults import CUT_OFF, TOO_LONG
from evals.parts import part_of
from evals.suite_file import CORNER_CASES

COUNTED = (None, TOO_LONG, CUT_OFF)
"""Values of `fault` that are part of the score: none, and the two that count as wrong."""
_OPTIONAL = ("group", "finding", "sample")


@dataclass(frozen=True)
class Answer:
    """One line of `answers.jsonl`."""

    suite: str
    id: str
    capability: str
    correct: bool
    """In `corner_cases`: whether it is clean, so that it does not show the case."""
    fault: str | None
    """`too_long`, `not_encoded`, `unknown_verifier`, `cut_off` (thinking without an end),
    `incomplete_question`, or the verifier's `verifier_crash` or `timeout`."""
    answer: str | None
    """What the verifier read from the text."""
    reference: str
    text: str
    tokens: int
    """Tokens generated."""
    finish: str | None
    """`stop` or `length`; None for a prompt that was not asked."""
    reward: float = 0.0
    """0 to 1; 0 with a fault."""
    parts: dict[str, float] = field(default_factory=dict)
    """The reward's parts by label; empty where there is one only."""
    group: str = ""
    """What the prompts that belong together share (`corner_cases.sets.group_of`)."""
    sample: int = 0
    """Which of several answers to the prompt."""
    finding: dict[str, Any] | None = None
    """Of an answer that shows a corner case: `reason`, `evidence` and where it starts."""

    @property
    def graded(self) -> bool:
        """Whether the reward says more than `correct` does."""
        return bool(self.parts) or self.reward not in (0.0, 1.0)

    @property
    def part(self) -> str:
        """The part of its suite that the prompt belongs to (`evals/parts.py`)."""
        return part_of(self.cluster)

    @property
    def cluster(self) -> str:
        """What the units that say much about each other share."""
        return self.group or self.id

    @property
    def unit(self) -> str:
        """What counts once in the score."""
        return unit_of(self.suite, self.id, self.capability, self.group)

    @property
    def counts(self) -> bool:
        """Whether the answer is part of the score: not when it could not be asked or graded."""
        return counts(self.suite, self.fault)

    def to_json(self) -> dict[str, Any]:
        """The line with its part, without the reward where `correct` says it all."""
        line = {**asdict(self), "part": self.part}
        dropped = {name for name in _OPTIONAL if not line[name]}
        if not self.graded:
            dropped |= {"reward", "parts"}
        return {name: value for name, value in line.items() if name not in dropped}


def counts(suite: str, fault: str | None) -> bool:
    """Whether an answer with this fault is part of the suite's score. A prompt without a reply is
    wrong where it has to be right, and shows no corner case."""
    return fault is None if suite == CORNER_CASES else fault in COUNTED


def unit_of(suite: str, id: str, capability: str, group: str) -> str:
    """What counts once in a suite's score: the prompt. In `corner_cases` those of one case that
    belong together are one unit, which is a question in several languages."""
    return f"{capability}/{group}" if suite == CORNER_CASES and group else id
