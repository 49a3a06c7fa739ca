"""What a judge can be asked, wherever it runs: an engine here (`judges.engine`) or an endpoint (`judges.endpoint`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from prompts.schema import Prompt

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a source gave for one sample; `finish` as in `Reply`, `fault` set when there is no completion."""

    text: str
    finish: str
    tokens: int = 0
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Completions of a chat."""

    messages: Messages
    samples: int
    temperature: float
    max_tokens: int
    seed: int
    """It alone decides the sampling."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with a few possible answers, whose probabilities are wanted."""

    messages: Messages
    lead: str
    """How the reply begins; the label follows it."""
    labels: tuple[str, ...]
    reason: str = ""
    """What follows the label and begins the reason; empty: none is asked for."""
    max_tokens: int = 0
    """Longest reason, in tokens."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The labels' probabilities (they add up to 1), or why there are none, and the reply as text."""

    weights: dict[str, float] | None
    text: str
    tokens: int = 0
    fault: str | None = None

    def said(self) -> dict[str, Any]:
        """The reply without its weights, as JSON values."""
        return {"text": self.text, "tokens": self.tokens, "fault": self.fault}


Likelihood = tuple[float | None, str | None]
"""(mean log-probability a token, None) or (None, why not)."""


class Source(Protocol):
    """Where replies come from. Each method answers in order."""

    def sample(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """As many completions a request as samples asked, faults in place of missing ones."""
        ...

    def choose(self, questions: Sequence[Question]) -> list[Choice]: ...

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        """How likely each prompt's reference answer is, right after the prompt."""
        ...

    def close(self) -> None: ...
