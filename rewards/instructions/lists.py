"""Constraints on lists and lines of an answer."""

from itertools import pairwise

import regex

from common.config import Text
from rewards.instructions.constraint import Constraint, Count, Relation, holds
from rewards.instructions.units import lines, sentences, words

_BULLET = regex.compile(r"^[ \t]*(?:[*\-+][ \t]+|•[ \t]*)\S")
_STARRED = regex.compile(r"^[ \t]*\*(?!\*)[ \t]*\S")
_DASHED = regex.compile(r"^[ \t]*-(?!-)[ \t]*\S")
_RULE = regex.compile(r"^[ \t]*(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,})$")


def bullets(text: str) -> list[str]:
    """The lines that are bullet points."""
    return [line for line in lines(text) if _BULLET.match(line) and not _RULE.match(line)]


class NumberOfBullets(Constraint):
    """Lines that begin with `*`, `-`, `+` or `•`."""

    id = "detectable_format:number_bullet_lists"
    example = '"num_bullets": 3'
    num_bullets: Count
    relation: Relation = "exactly"

    def followed(self, text: str) -> bool:
        return holds(len(bullets(text)), self.relation, self.num_bullets)


class MarkedList(Constraint):
    """A list with `sep` before each item instead of a bullet, on lines of their own or in one text
    that begins with it: two items or more, and no bullet."""

    id = "format:list"
    example = '"sep": "..."'
    sep: Text

    def followed(self, text: str) -> bool:
        mark = self.sep.strip()
        items = sum(line.strip().startswith(mark) for line in lines(text))
        if text.strip().startswith(mark):
            items = max(items, text.count(mark))
        return items >= 2 and all(line.strip().startswith(mark) for line in bullets(text))


class SubBullets(Constraint):
    """Bullet points with `*`, each with at least one sub-bullet with `-` below it."""

    id = "format:sub-bullets"

    def followed(self, text: str) -> bool:
        marks = [
            "*" if _STARRED.match(line) else "-"
            for line in lines(text)
            if (_STARRED.match(line) or _DASHED.match(line)) and not _RULE.match(line)
        ]
        groups = "".join(marks).split("*")
        return len(groups) > 1 and not groups[0] and all(groups[1:])


class SentencesThenBullets(Constraint):
    """At least two sentences that end in a full stop, and then at least two bullets with `*`."""

    id = "format:no_bullets_bullets"

    def followed(self, text: str) -> bool:
        found = lines(text)
        starts = [n for n, line in enumerate(found) if _STARRED.match(line)]
        if len(starts) < 2 or starts[-1] != len(found) - 1 or len(found) - starts[0] != len(starts):
            return False
        before = sentences("\n".join(found[: starts[0]]))
        return sum(sentence.endswith(".") for sentence in before) >= 2


class WordPerLine(Constraint):
    """Each word is on a line of its own."""

    id = "format:newline"

    def followed(self, text: str) -> bool:
        return bool(words(text)) and all(len(line.split()) == 1 for line in lines(text))


class Stairs(Constraint):
    """Each line is indented further than the one before."""

    id = "format:line_indent"

    def followed(self, text: str) -> bool:
        indents = [len(line) - len(line.lstrip()) for line in lines(text.expandtabs(4))]
        return len(indents) > 1 and all(before < after for before, after in pairwise(indents))


ALL = (
    NumberOfBullets,
    MarkedList,
    SubBullets,
    SentencesThenBullets,
    WordPerLine,
    Stairs,
)
