"""The interface to a judge's replies: an engine in this process (`judges.engine`) or an endpoint
(`judges.endpoint`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from common.errors import UphillError
from judges.verdict import RETRIED_FAULTS
from prompts.schema import Prompt

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample from a backend. `finish` and `how` are as in `Reply`; `fault` is set if there is
    no completion."""

    text: str
    finish: str
    tokens: int = 0
    fault: str | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """A request for several completions of one chat."""

    messages: Messages
    samples: int
    temperature: float
    max_tokens: int
    seed: int
    """The only source of randomness in sampling."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with a few labels as answers. The probability of each label is wanted."""

    messages: Messages
    lead: str
    """How the reply begins. The label follows it."""
    labels: tuple[str, ...]
    reason: str = ""
    """Text between the label and the reason; empty: no reason is asked for."""
    max_tokens: int = 0
    """Longest reason, in tokens."""
    room_factor: int = 1
    """Multiple of the usual token limit for what precedes the label."""

    def with_room(self, factor: int) -> "Question":
        """The same question with `factor` times the token limits."""
        return replace(self, max_tokens=self.max_tokens * factor, room_factor=factor)


@dataclass(frozen=True, slots=True)
class Choice:
    """The reply to a `Question`."""

    weights: dict[str, float] | None
    """Probability of each label; they add up to 1. None if there is a fault."""
    text: str
    tokens: int = 0
    fault: str | None = None
    finish: str = "stop"
    how: str = ""
    """As in `Reply`."""

    def without_weights(self) -> dict[str, Any]:
        """The reply as JSON values, without the probabilities."""
        optional = {"finish": self.finish} if self.finish != "stop" else {}
        optional |= {"how": self.how} if self.how else {}
        return {"text": self.text, "tokens": self.tokens, "fault": self.fault, **optional}


Likelihood = tuple[float | None, str | None]
"""(mean log-probability per token, None) or (None, the fault)."""


@dataclass
class BackendMonitor:
    """Callbacks for a backend that waits for replies, and the error that ended its work."""

    note: Callable[[str], None] = print
    """Shows a sentence to the user."""
    stop_requested: Callable[[], bool] = lambda: False
    on_answers: Callable[[int], None] = lambda count: None
    """Called with the number of questions answered so far in the current call."""
    failure: UphillError | None = None
    """An error that every further question would meet. Once it is set, the backend returns the
    fault `not_asked`, so that earlier replies are kept."""


class Backend(Protocol):
    """A source of replies. Each method returns results in the order of its input."""

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        """For each request, `samples` completions. A missing one is replaced by a fault."""
        ...

    def choose(self, questions: Sequence[Question]) -> list[Choice]: ...

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        """Likelihood of each prompt's reference answer, right after the prompt."""
        ...

    def close(self) -> None: ...


def choose_with_retries(
    backend: Backend, questions: Sequence[Question], retries: int
) -> list[list[Choice]]:
    """All replies to each question, the last one last.

    A question whose last reply has one of `RETRIED_FAULTS` is asked again, with more room each
    time."""
    replies: list[list[Choice]] = [[] for _ in questions]
    for factor in range(1, retries + 2):
        places = [
            place
            for place, earlier in enumerate(replies)
            if not earlier or earlier[-1].fault in RETRIED_FAULTS
        ]
        if not places:
            break
        choices = backend.choose([questions[place].with_room(factor) for place in places])
        for place, choice in zip(places, choices, strict=True):
            replies[place].append(choice)
    return replies


def last_choice(choices: Sequence[Choice]) -> Choice:
    """The last reply to a question, with the tokens of all its replies."""
    return replace(choices[-1], tokens=sum(choice.tokens for choice in choices))
