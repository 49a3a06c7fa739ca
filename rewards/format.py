"""The verifier `format`: an answer has a form, which is a regular expression or a row of tags."""

from collections.abc import Sequence
from functools import cache

from prompts.part import RewardPart
from prompts.parts import FormatPart
from prompts.schema import Prompt
from prompts.text_settings import compiled
from rewards.interface import Answer, OpenVerifier, Resources, Result, Verifier

SECONDS = 1.0
"""Time limit of a pattern for one answer. Some patterns take exponential time on some texts."""


class Format(Verifier):
    """The verifier, for any form. Needs no reference answer."""

    slow = False

    def check(self, prompt: Prompt, part: RewardPart) -> None:
        """The form was checked when the recipe was read, and a prompt adds nothing to it."""

    def open(self, part: RewardPart, resources: Resources) -> OpenVerifier:
        assert isinstance(part, FormatPart)
        return OpenFormat(part)


class OpenFormat(OpenVerifier):
    """Compares answers with the form of one part."""

    def __init__(self, part: FormatPart) -> None:
        self._part = part

    def grade(self, prompt: Prompt, answers: Sequence[Answer]) -> list[Result]:
        return [self._graded(answer) for answer in answers]

    def close(self) -> None:
        """Nothing was started."""

    def _graded(self, answer: Answer) -> Result:
        part = self._part
        if part.pattern is None:
            return Result(float(consists_of(answer.completion, part.tags)))
        text = answer.text if part.over == "answer" else answer.completion
        try:
            return Result(float(matches(part, text.strip())))
        except TimeoutError:
            return Result(fault="timeout")


def matches(part: FormatPart, text: str) -> bool:
    """Whether `text` has the form of the part's pattern. Raises TimeoutError after `SECONDS`."""
    pattern = _pattern(part.pattern or "", part.flags)
    match = pattern.fullmatch if part.match == "full" else pattern.search
    return match(text, timeout=SECONDS) is not None


def consists_of(text: str, tags: Sequence[str]) -> bool:
    """Whether `text` is one element per tag, in order, and nothing else but space. What is inside
    an element is free, as long as it has none of the tags."""
    rest = text.strip()
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        inside, found, after = rest.removeprefix(opening).partition(closing)
        if not rest.startswith(opening) or not found:
            return False
        if any(mark in inside for name in tags for mark in (f"<{name}>", f"</{name}>")):
            return False
        rest = after.strip()
    return not rest


_pattern = cache(compiled)
