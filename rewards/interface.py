"""What the rest of the code knows of a verifier: it checks a prompt, and once open it grades the
answers to one prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prompts.part import RewardPart
from prompts.schema import Prompt

BAD_REFERENCE = "bad_reference"
"""The fault of every answer whose verifier cannot use the reference answer."""


class BadReference(ValueError):
    """A reference answer that a verifier cannot use."""

    def __init__(self, reason: str, remedy: str) -> None:
        """`reason` is a sentence without its subject: `is not one number`."""
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy

    def about(self, prompt: Prompt) -> str:
        """What the verifier says of the prompt."""
        return f"does not accept its reference answer {prompt.answer!r:.80}: it {self.reason}"


class BadPrompt(BadReference):
    """Another field of a prompt that a verifier cannot use."""

    def about(self, prompt: Prompt) -> str:
        return f"cannot grade it: it {self.reason}"


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to grade."""

    text: str
    """Without thinking and special tokens."""
    tokens: int | None = None
    """Length as it was sampled, thinking included; None where it is unknown."""
    sampled: str | None = None
    """The text with its thinking; None where that is `text`."""

    @property
    def completion(self) -> str:
        """The text as it was sampled, thinking included."""
        return self.text if self.sampled is None else self.sampled


@dataclass(frozen=True, slots=True)
class Result:
    """What a verifier says of one answer."""

    reward: float = 0.0
    """0 to 1; meaningless when `fault` is set."""
    read: str | None = None
    """What the verifier read in the answer, for people; None where it reads nothing in
    particular."""
    fault: str | None = None
    """Why the answer could not be graded: a name from `common.faults`. A fault is never a reward of
    0."""
    checks: dict[str, float] = field(default_factory=dict)
    """Rewards of named sub-checks, such as the items of a rubric; for people and metrics."""
    judge_tokens: int = 0
    """Tokens of a judge's replies about it; those about two answers count for one of them."""


@dataclass(frozen=True)
class Resources:
    """What an open verifier may use."""

    threads: int = 1
    """CPU cores for grading beside generation."""
    note: Callable[[str], None] = print
    """Shows a sentence to the user."""
    folder: Path | None = None
    """Where logs are written; None: nowhere."""
    context: Any = None
    """The `StageContext` that a judge in this process is started in; None outside a stage."""


class OpenVerifier(Protocol):
    """A verifier that can grade: its processes run, its model is loaded or reachable."""

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        """One result per answer, all to the same prompt. Called from several threads at once where
        the verifier is `slow`. Whatever goes wrong with an answer is a fault in its result.
        BadReference becomes the fault `bad_reference` of all answers. Any other exception stands
        for a mistake of the verifier's, and becomes their fault `verifier_crash`."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Verifier(Protocol):
    """One way to grade, by the name that a recipe gives it."""

    slow: bool
    """Whether grading waits for something: it is then done beside generation, in threads."""

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """Raise BadPrompt where the prompt lacks what the verifier needs, BadReference where the
        verifier does not accept the prompt's own reference answer. Leaves nothing running."""
        ...

    def require(self, part: RewardPart) -> None:
        """Raise BadInput where a tool, a file or a service is missing that `open` would miss. The
        early check asks hours before `open`: this is quick and leaves nothing running. By default
        nothing is needed."""
        return

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        """Start what grading needs. BadInput where something is missing, with how to get it."""
        ...
