"""Where a model's reasoning ends and its answer begins, by the usual marks around the reasoning."""

import re

_MARKS = "think|thinking|reasoning"
_OPEN = re.compile(rf"<({_MARKS})>")
_CLOSE = re.compile(rf"</({_MARKS})>")


def answer_part(text: str) -> str | None:
    """The text after the closed reasoning, all of it where there is none; None where the reasoning never ends.

    A template may open the mark in the prompt, so a closing mark alone ends reasoning too.
    """
    ends = [mark.end() for mark in _CLOSE.finditer(text)]
    rest = text[ends[-1] :] if ends else text
    return None if _OPEN.search(rest) else rest
