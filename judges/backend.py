"""What a judge can be asked, wherever it runs: an engine here (`judges.engine`) or an endpoint
(`judges.endpoint`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from common.errors import UphillError
from judges.verdict import REPEATED
from prompts.schema import Prompt

Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a source gave for one sample; `finish` and `how` as in `Reply`, `fault` set when there
    is no completion."""

    text: str
    finish: str
    tokens: int = 0
    fault: str | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class SamplingRequest:
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
    times: int = 1
    """How many times the usual room there is for what comes before the label."""

    def longer(self, times: int) -> "Question":
        """The same with so many times the room."""
        return replace(self, max_tokens=self.max_tokens * times, times=times)


@dataclass(frozen=True, slots=True)
class Choice:
    """The labels' probabilities (they add up to 1), or why there are none, and the reply as
    text."""

    weights: dict[str, float] | None
    text: str
    tokens: int = 0
    fault: str | None = None
    finish: str = "stop"
    how: str = ""
    """As in `Reply`."""

    def said(self) -> dict[str, Any]:
        """The reply without its weights, as JSON values."""
        unusual = {"finish": self.finish} if self.finish != "stop" else {}
        unusual |= {"how": self.how} if self.how else {}
        return {"text": self.text, "tokens": self.tokens, "fault": self.fault, **unusual}


Likelihood = tuple[float | None, str | None]
"""(mean log-probability a token, None) or (None, why not)."""


@dataclass
class Line:
    """Between a source that waits for replies and whoever asked it: what each tells the other
    meanwhile."""

    note: Callable[[str], None] = print
    stop_requested: Callable[[], bool] = lambda: False
    heard: Callable[[int], None] = lambda count: None
    """Gets, of what is being asked at once, the number that has been answered."""
    failure: UphillError | None = None
    """What no further question can get past. The source gives `not_asked` from then on, so what it
    had is kept."""


class Backend(Protocol):
    """Where replies come from. Each method answers in order."""

    def sample(self, requests: Sequence[SamplingRequest]) -> list[list[Completion]]:
        """As many completions a request as samples asked, faults in place of missing ones."""
        ...

    def choose(self, questions: Sequence[Question]) -> list[Choice]: ...

    def likelihoods(self, prompts: Sequence[Prompt]) -> list[Likelihood]:
        """How likely each prompt's reference answer is, right after the prompt."""
        ...

    def close(self) -> None: ...


def choose_again(
    source: Backend, questions: Sequence[Question], retries: int
) -> list[list[Choice]]:
    """Every question's replies: where another may be without the fault of the last, it is asked
    for, with more room."""
    found: list[list[Choice]] = [[] for _ in questions]
    for times in range(1, retries + 2):
        places = [
            place for place, said in enumerate(found) if not said or said[-1].fault in REPEATED
        ]
        if not places:
            break
        choices = source.choose([questions[place].longer(times) for place in places])
        for place, choice in zip(places, choices, strict=True):
            found[place].append(choice)
    return found


def in_one(choices: Sequence[Choice]) -> Choice:
    """The last of a question's replies, with the tokens of all."""
    return replace(choices[-1], tokens=sum(choice.tokens for choice in choices))
