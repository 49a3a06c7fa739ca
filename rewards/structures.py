"""The structure of a mathematical answer: a value, several values, a set, a point or interval, a
union, assignments.

Text is split at separators outside brackets. What cannot be split is a value;
`rewards.mathematics` checks whether it can be read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.expressions import latex
from rewards.numbers import read_number

_NAME = re.compile(
    r"[A-Za-z](?:_\{?\w{1,3}\}?)?'*|[A-Z]{2,3}|(?:[A-Za-z]'?\s*\([^()=]*\)(?:\s*[-+]\s*(?=[A-Za-z]))?)+"
    r"|[A-Za-z]{3,}(?: [A-Za-z]+)*|\|[^|=]+\||[a-z](?:\s*\+\s*[a-z]){1,3}|\\angle\s*[A-Z]{1,3}"
    r"|\\(?:theta|alpha|beta|gamma|lambda|mu|phi|omega)"
)
"""Names that a value may be assigned to: `x`, `x_1`, `AB`, `f(x)`, `area`, `m+n`."""
_OR = re.compile(
    r"\s*(?:[,;](?!\s*$)|\b(?:or|and|oder|und|ou|et)\b|[和或]|\\(?:lor|vee|land|wedge|quad|qquad)\b)\s*(?:(?:or|and)\b)?\s*"
)
_RELATION = re.compile(r"[<>]|\\(?:leq?|geq?|neq?|lt|gt|le|ge|ne|leqslant|geqslant)(?![A-Za-z])")
_EITHER = re.compile(r"\b(?:or|oder|ou)\b|或|\\(?:lor|vee)(?![A-Za-z])")
_UNION = re.compile(r"\\cup(?![A-Za-z])")
_MEMBER = re.compile(r"^\s*[A-Za-z]\s*\\in(?![A-Za-z])\s*")
_SIGNS = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_PROSE = re.compile(
    r".*(?:\b(?:is|are|be|equals|equal to)\b|\\(?:Rightarrow|implies)\b|⇒|:\s)",
    re.IGNORECASE | re.DOTALL,
)
_SAID_BEFORE = re.compile(
    r"(?:\b(?:is|are|equals)\b|[=:])[^=]*[0-9].*(?:[,;]|\b(?:and|or|while|but)\b)", re.IGNORECASE
)
_NEGATED = re.compile(
    r"\b(?:not|neither|nor|either|between|than|least|most|wrong|incorrect)\b|n't\b", re.IGNORECASE
)
_CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True)
class Structure:
    """A mathematical answer split into its parts."""

    kind: str
    """`value`, `several`, `set`, `sequence`, `union` or `named`."""
    parts: tuple["Structure", ...] = ()
    text: str = ""
    """For a value its LaTeX, for a sequence its two brackets, for `named` the name, for several
    inequalities `or` or `and`."""


def structure_of(span: str) -> Structure:
    """The structure of a span of text."""
    text = _MEMBER.sub("", _without_prose(latex(span)).strip().rstrip(".,"))
    return _structure(text)


def _structure(text: str) -> Structure:
    text = text.strip()
    if re.fullmatch(r"\\(?:emptyset|varnothing)", text):
        return Structure("set")
    inner = _braces(text)
    if inner is not None:
        return Structure("set", tuple(map(_structure, _split(inner, _OR))) if inner.strip() else ())
    if len(parts := _split(text, _UNION)) > 1:
        return Structure("union", tuple(map(_structure, parts)))
    if not _is_grouped_number(text) and len(parts := _split(text, _OR)) > 1:
        several = _several([_structure(part) for part in parts if part.strip()], _joint(text))
        # "x=3 or y=4" says less than "x=3, y=4", and does not give either name a value.
        named = [part.text for part in several.parts if part.kind == "named"]
        return Structure("value", text=text) if _EITHER.search(text) and len(named) > 1 else several
    if sequence := _sequence(text):
        return sequence
    if _SIGNS.search(text):
        swapped = {"pm": "mp", "mp": "pm"}
        upper = _SIGNS.sub(lambda match: "+" if match[1] == "pm" else "-", text)
        lower = _SIGNS.sub(lambda match: "+" if swapped[match[1]] == "pm" else "-", text)
        return _several([_structure(upper), _structure(lower)])
    return _equation(text)


def _joint(text: str) -> str:
    """How inequalities are joined: `x<1 or x>2` is not `x<1 and x>2`. Between values both words
    only list them."""
    if not _RELATION.search(text):
        return ""
    if _EITHER.search(text):
        return "or"
    return "and" if re.search(r"\band\b|\\(?:land|wedge)", text) else ""


def _several(parts: Sequence[Structure], joint: str = "") -> Structure:
    """Several values. If all belong to one name, as in `x = 1 or x = 2`, a named structure."""
    flat = [inner for part in parts for inner in (part.parts if part.kind == "several" else [part])]
    names = {part.text for part in flat if part.kind == "named"}
    if len(names) == 1:
        flat = [part.parts[0] if part.kind == "named" else part for part in flat]
        return Structure("named", (Structure("several", tuple(flat)),), names.pop())
    return Structure("several", tuple(flat), joint)


def _equation(text: str) -> Structure:
    """`x = 5` as a named value, `3 + 9 = 12` as its last side, any other equation unchanged."""
    sides = [side.strip() for side in text.split("=")]
    if len(sides) < 2 or _RELATION.search(text):
        return Structure("value", text=text)
    names, values = _sequence(sides[0]), _sequence(sides[-1])
    if (
        names
        and values
        and len(names.parts) == len(values.parts)
        and all(_NAME.fullmatch(n.text) for n in names.parts)
    ):
        pairs = zip(names.parts, values.parts, strict=True)
        return Structure(
            "several", tuple(Structure("named", (value,), name.text) for name, value in pairs)
        )
    if _NAME.fullmatch(sides[0]):
        return Structure("named", (_structure(sides[-1]),), "".join(sides[0].split()))
    if len(sides) == 2 and _NAME.fullmatch(sides[1]):
        return Structure("named", (_structure(sides[0]),), "".join(sides[1].split()))
    if not re.search("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text)):
        return _structure(sides[-1])
    return Structure("value", text=text)


def _sequence(text: str) -> Structure | None:
    """A point, vector or interval: brackets around everything, with a comma inside."""
    text = re.sub(r"^\\langle\s*(.*?)\s*\\rangle$", r"(\1)", text)
    if french := re.fullmatch(r"([\[\]])([^\[\]]+)([\[\]])", text):
        text = f"{'(' if french[1] == ']' else '['}{french[2]}{')' if french[3] == '[' else ']'}"
    if text[:1] not in _CLOSING or text[-1:] not in ")]":
        return None
    inner = text[1:-1]
    parts = _split(inner, re.compile(r"\s*,\s*"))
    if len(parts) < 2 or not _balanced(inner):
        return None
    return Structure("sequence", tuple(map(_structure, parts)), text[0] + text[-1])


def _braces(text: str) -> str | None:
    """The content of the braces if `text` is a set and nothing else."""
    match = re.fullmatch(r"\\\{(.*)\\\}", text, re.DOTALL) or re.fullmatch(
        r"\{([^{}]*,[^{}]*)\}", text, re.DOTALL
    )
    return match[1] if match and "\\}" not in match[1] else None


def _split(text: str, separator: re.Pattern[str]) -> list[str]:
    """The parts of `text` between separators outside brackets."""
    parts, start = [], 0
    for match in separator.finditer(text):
        if (
            match.end() > match.start()
            and _balanced(text[start : match.start()])
            and match.start() >= start
        ):
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]


def _balanced(text: str) -> bool:
    """Whether every opened bracket is closed and every closed one was opened; `(1,2]` is
    balanced."""
    depth = 0
    for character in text:
        depth += 1 if character in "([{" else -1 if character in ")]}" else 0
        if depth < 0:
            return False
    return depth == 0


def _is_grouped_number(text: str) -> bool:
    """Whether the commas of `text` are those of one number: `1,234`, but not `1, 2`."""
    return ", " not in text and read_number(text) is not None


def _without_prose(text: str) -> str:
    """The answer that a sentence states. Other text is unchanged, and so is a sentence that states
    several."""
    match = _PROSE.match(text)
    if (
        match is None
        or not text[match.end() :].strip()
        or _NEGATED.search(text)
        or _SAID_BEFORE.search(match.group())
    ):
        return text
    return text[match.end() :]
