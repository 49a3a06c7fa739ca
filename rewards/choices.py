"""Reads which option of a multiple-choice question an answer names. A capital letter that is a word
names none."""

import re
from collections.abc import Mapping

from prompts.schema import Prompt
from rewards.answers import candidates, tidy
from rewards.exact import normalise
from rewards.spelling import uniform, without_latex

_OPTION = re.compile(r"(?<![\w(])(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[).:])[ \t]+(?=\S)")
_LETTER = r"[(\[]?\s*([A-Za-z])\s*[)\]]?"
_NOUN = r"(?:(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:option|choice|answer|letter)\s*(?:is\s*)?:?\s*)?"  # noqa: E501
_ALONE = re.compile(rf"{_NOUN}{_LETTER}\s*[.:,!]?", re.IGNORECASE)
_LEADING = re.compile(
    r"(?:option|choice|answer)?\s*(?:[(\[]([A-Za-z])[)\]][.:,]?|([A-Z])[).:,]|([a-z])[).:])(?:\s+|$|(?=[^\x00-\x7f]))(.*)",
    re.DOTALL | re.IGNORECASE,
)
_DASHED = re.compile(r"([A-Z])\s+-\s+(.*)", re.DOTALL)
_EXPLAINED = re.compile(
    r"(?:[Oo]ption |[Cc]hoice |[Aa]nswer )?([A-Z]),?\s+"
    r"(?:because|since|as|due to|is (?:the )?(?:correct|right|best|answer))\b.*",
    re.DOTALL,
)
_SPELT = re.compile(r"([A-Z])\s+(.*)", re.DOTALL)
_SAID = re.compile(
    r"(?:\b(?:is|be|it's|choose|pick|select|with|for|option|choice|answer|letter|say|guess|think)|[:=])\s+[(\[]?([A-Z])[)\]]?[.!]?$"
)
_BRACKETED = re.compile(r"\(([A-Z])\)")
_STANDING = re.compile(r"(?<![\w'+°~-])([A-Z])(?![\w'+~-])")
_NOT = re.compile(
    r"\b(?:not|never|neither|nor|cannot|except|wrong|incorrect|false|ruled?|eliminated?|but|than|to|any|both)\b|n't\b|~~",
    re.IGNORECASE,
)
_REJECTED = re.compile(
    r"^\W*(?:is|are|was|seems|looks|can be|does)?\s*"
    r"(?:not(?!\s+[(\[]?[A-Z]\b)|n't|wrong|incorrect|false|isn't|ruled|eliminated)\b",
    re.IGNORECASE,
)
"""Text after a letter that rejects it. "B, not C" does not."""
_ANOTHER = re.compile(r"^\W*(?:or|and|[/,&+])?\s*[(\[]?[A-Z][)\]]?(?!\w)\s*(?:[.,)]|$|or\b|and\b)")
_JOINED = re.compile(
    r"^\s*(?:or|and|/|&|\+)\s*(?:[(\[]?[A-Z][)\]]?(?!\w)|both\b)"
    r"|\b(?:or|and|maybe|perhaps|possibly)\s+(?:maybe |perhaps |possibly |even |also"
    r" )?[(\[]?[A-Z][)\]]?(?!\w)"
)
_WORD_AFTER_DOT = re.compile(r"[A-Z]\.\s+(?!because\b|since\b|as\b|the\b|it\b|this\b)[a-z]")
"""`E. coli` also begins with a letter and a full stop."""


def options_of(prompt: Prompt) -> dict[str, str]:
    """The options of a question by letter, from `metadata.options` or from its text; empty if it
    lists none."""
    given = prompt.metadata.get("options")
    if isinstance(given, Mapping):
        return {str(letter).upper(): str(text) for letter, text in given.items()}
    if isinstance(given, list):
        return {chr(ord("A") + n): str(text) for n, text in enumerate(given)}
    text = prompt.messages[-1]["content"] if prompt.messages else ""
    markers = list(_OPTION.finditer(text))
    # The last list that begins with A: an example before the question may have its own options.
    starts = [n for n, marker in enumerate(markers) if _name(marker) == "A"]
    options: dict[str, str] = {}
    for n in range(starts[-1] if starts else len(markers), len(markers)):
        end = markers[n + 1].start() if n + 1 < len(markers) else len(text)
        if _name(markers[n]) != chr(ord("A") + len(options)):
            break
        option = text[markers[n].end() : end].strip().split("\n")[0]
        options[_name(markers[n])] = option.strip().rstrip(",;")
    return options if len(options) > 1 else {}


def read_choice(text: str, options: Mapping[str, str]) -> tuple[str | None, str]:
    """The letter that a completion (without thinking) names, None if it names none, and the span
    that was read."""
    places = candidates(text)
    if not places:
        return None, ""
    lines = [line for line in text.splitlines() if line.strip()]
    listed = {leading[0] for line in lines if (leading := _leading(_plain(line)))}
    if len(places) == 1 and len(listed) > 1 and _leading(_plain(lines[-1])):
        return None, places[0]  # the options, listed again
    for span in [places[0]] if len(places) > 1 else [places[0], tidy(lines[0])]:
        letter = letter_of(span, options)
        if letter is not None:
            return letter, span
    return None, places[0]


def letter_of(span: str, options: Mapping[str, str]) -> str | None:
    """The one letter that a span names, or whose option's text it is."""
    if "~~" in span:
        return None
    span = _plain(span)
    named = re.split(r"\b(?:is|are|be)\s+", span)[-1]
    for text in (span, named) if not _NOT.search(span) else (span,):
        spelt = [
            letter for letter, option in options.items() if normalise(text) == normalise(option)
        ]
        if len(spelt) == 1:
            return spelt[0]
    letter, rest = _leading(span) or _spelt(span, options) or _within(span) or (None, "")
    if letter is None or (options and letter not in options):
        return None
    return letter if _consistent(letter, rest, options) else None


def _plain(span: str) -> str:
    return tidy(re.sub(r"\*\*|__", "", without_latex(uniform(span)).replace("$", " ")))


def _leading(span: str) -> tuple[str, str] | None:
    """The letter that a span is or begins with, and the text after it."""
    if alone := _ALONE.fullmatch(span):
        return alone[1].upper(), ""
    if (first := _LEADING.fullmatch(span)) and not _WORD_AFTER_DOT.match(span):
        return (first[1] or first[2] or first[3]).upper(), first[4]
    if explained := _EXPLAINED.fullmatch(span):
        return explained[1], ""
    dashed = _DASHED.fullmatch(span)
    return (dashed[1], dashed[2]) if dashed else None


def _spelt(span: str, options: Mapping[str, str]) -> tuple[str, str] | None:
    """A letter followed by its own option's text, without a mark between them or after `E.`"""
    match = _SPELT.fullmatch(span) or re.fullmatch(r"([A-Z])\.\s+(.*)", span, re.DOTALL)
    own = (
        match is not None
        and match[1] in options
        and normalise(match[2]) == normalise(options[match[1]])
    )
    return (match[1], "") if match and own else None


def _within(span: str) -> tuple[str, str] | None:
    """The one letter that a sentence ends in naming, or has in brackets."""
    if _NOT.search(span):
        return None
    standing = [
        m[1]
        for m in _STANDING.finditer(span)
        if m[1] not in "AI" or not re.match(r"\s+\w", span[m.end() :])
    ]
    others = [
        m[1]
        for m in _STANDING.finditer(span)
        if m[1] != "I" and re.match(r"\s+(?:or|and|to)\b", span[m.end() :])
    ]
    named = _SAID.search(span) or _BRACKETED.search(span)
    return (named[1], "") if named and not others and set(standing) == {named[1]} else None


def _consistent(letter: str, rest: str, options: Mapping[str, str]) -> bool:
    """Whether the text after a letter neither rejects it nor names another one, nor states another
    option."""
    if _REJECTED.search(rest) or _JOINED.search(rest) or (rest and _ANOTHER.search(rest)):
        return False
    stated = normalise(rest)
    return not any(
        other != letter and stated == normalise(text) != normalise(options[letter])
        for other, text in options.items()
    )


def _name(match: re.Match[str]) -> str:
    return match[1] or match[2] or match[3]
