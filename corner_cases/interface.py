"""What a detector sees and says: a reply, and the evidence in its text that shows a corner case.

A detector is a function of its arguments alone, so the same reply gives the same finding."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from prompts.schema import Prompt

LONGEST_EVIDENCE = 200
"""Characters of a text that a finding shows."""
CUT_OFF = "length"
"""How a completion finishes that its limit of tokens ended."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a model to one prompt."""

    text: str
    """Without thinking and special tokens."""
    finish: str | None = None
    """`stop` (end token) or `length` (ended by the limit); None where it is unknown."""


@dataclass(frozen=True, slots=True)
class GradedReply:
    """An answer and what the prompt's verifier says of it."""

    text: str
    right: bool | None
    """None where the verifier could not grade it: the answer then shows nothing."""
    value: str = ""
    """The answer that the verifier read in the text; empty where it read none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A corner case, and where in the text it shows."""

    case: str
    """Its name in `corner_cases.registry`."""
    reason: str
    """What was found, for people and counts by kind: a fixed phrase, then figures in brackets."""
    evidence: str
    """The part of the text that shows it, verbatim, or its first `LONGEST_EVIDENCE` characters. Of
    several texts: their values."""
    start: int | None = None
    """Where the evidence begins in the text, in characters; None where it is of several texts."""


Detector = Callable[[Prompt, Reply], Finding | None]
"""Finds a corner case in one reply; None: it is not there."""
GroupDetector = Callable[[Mapping[str, GradedReply]], Finding | None]
"""Finds a corner case in the replies to one question, by language."""


def finding(case: str, reason: str, text: str, start: int = 0, end: int | None = None) -> Finding:
    """A finding whose evidence is `text[start:end]`, shortened."""
    evidence = text[start : len(text) if end is None else end][:LONGEST_EVIDENCE]
    return Finding(case, reason, evidence, start)
