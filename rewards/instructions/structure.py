"""Constraints on the form of an answer: sections, titles, brackets, templates, JSON."""

import json
from typing import Annotated, Any

import regex
from pydantic import BeforeValidator, Field

from common.config import Text
from rewards.instructions.constraint import Constraint, Count
from rewards.instructions.units import paragraphs, words

_HIGHLIGHT = regex.compile(
    r"(?<![\w*\\])(\*{1,3})(?![\s*])((?:(?!\*)[^\n])*[^\s*\\])\1(?![\w*])", regex.V1
)
_PLACEHOLDER = regex.compile(r"\[(?![ xX]?\])([^\[\]\n]+)\](?!\()")
_TITLE = regex.compile(r"<<([^\n<>]+)>>")


class NumberOfHighlights(Constraint):
    """At least so many parts in `*asterisks*` or `**two**`; each counts once."""

    id = "detectable_format:number_highlighted_sections"
    example = '"num_highlights": 2'
    num_highlights: Count

    def followed(self, text: str) -> bool:
        return len(_HIGHLIGHT.findall(text)) >= self.num_highlights


class NumberOfPlaceholders(Constraint):
    """At least so many placeholders such as `[address]`; links and check boxes are none."""

    id = "detectable_content:number_placeholders"
    example = '"num_placeholders": 3'
    num_placeholders: Count

    def followed(self, text: str) -> bool:
        filled = [name for name in _PLACEHOLDER.findall(text) if name.strip()]
        return len(filled) >= self.num_placeholders


class Sections(Constraint):
    """At least so many lines begin with the word for a section and its number: `SECTION 1`."""

    id = "detectable_format:multiple_sections"
    example = '"section_spliter": "Section", "num_sections": 3'
    section_spliter: Text
    num_sections: Count

    def followed(self, text: str) -> bool:
        word = r"\s+".join(map(regex.escape, self.section_spliter.split()))
        pattern = rf"^[ \t#*_>]*{word}\s*(\d+|[ivxlcIVXLC]+)\b"
        found = regex.findall(pattern, text, regex.MULTILINE | regex.IGNORECASE)
        return len({number.lower() for number in found}) >= self.num_sections


class Title(Constraint):
    """A title in double angular brackets, such as `<<The river>>`."""

    id = "detectable_format:title"

    def followed(self, text: str) -> bool:
        return any(title.strip() for title in _TITLE.findall(text))


class Postscript(Constraint):
    """A line after the first begins with the marker and says something."""

    id = "detectable_content:postscript"
    example = '"postscript_marker": "P.S."'
    postscript_marker: Text

    def followed(self, text: str) -> bool:
        letters = self.postscript_marker.replace(".", "").split()
        if "".join(letters).lower() in ("ps", "pps"):
            pattern = r"\.?\s?".join("".join(letters)) + r"[.:]?"
        else:
            pattern = regex.escape(self.postscript_marker.strip())
        line = rf"\n[ \t*_>#]*{pattern}(?![\p{{L}}])[\W_]*[\p{{L}}\p{{N}}]"
        return regex.search(line, text.strip(), regex.IGNORECASE) is not None


class OneOfThree(Constraint):
    """Has exactly one of the phrases "My answer is yes.", "My answer is no.", "My answer is
    maybe."."""

    id = "detectable_format:constrained_response"

    def followed(self, text: str) -> bool:
        return sum(f"My answer is {word}." in text for word in ("yes", "no", "maybe")) == 1


class Json(Constraint):
    """The whole answer is a JSON object or list, in a code fence or not."""

    id = "detectable_format:json_format"

    def followed(self, text: str) -> bool:
        text = text.strip()
        if text.startswith("```") and text.endswith("```"):
            text = regex.sub(r"\A[A-Za-z]*", "", text[3:-3])
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return False
        return isinstance(value, dict | list)


class TwoResponses(Constraint):
    """Two different answers with `******` between them."""

    id = "combination:two_responses"

    def followed(self, text: str) -> bool:
        parts = [part.strip() for part in regex.split(r"(?<!\*)\*{6}(?!\*)", text)]
        inner, filled = parts[1:-1], [part for part in parts if part]
        return all(inner) and len(filled) == 2 and filled[0].lower() != filled[1].lower()


def _options(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    separator = "/" if "/" in value else r",\s*(?:or\b)?|\bor\b"
    return [part.strip() for part in regex.split(separator, value) if part.strip()]


class Options(Constraint):
    """The answer is one of the options and nothing else. As text they stand between `/`, commas or
    "or"."""

    id = "format:options"
    example = '"options": "yes/no/maybe"'
    options: Annotated[tuple[Text, ...], BeforeValidator(_options), Field(min_length=2)]

    def followed(self, text: str) -> bool:
        return _bare(text) in {_bare(option) for option in self.options}


class Template(Constraint):
    """Has "My Answer:", "My Conclusion:" and "Future Outlook:", in this order."""

    id = "format:output_template"

    def followed(self, text: str) -> bool:
        places = [
            text.find(f"{name}:") for name in ("My Answer", "My Conclusion", "Future Outlook")
        ]
        return places[0] >= 0 and places == sorted(places)


class NoWhitespace(Constraint):
    """No space, tab or line break inside the answer."""

    id = "format:no_whitespace"

    def followed(self, text: str) -> bool:
        return not any(map(str.isspace, text.strip()))


class NestedBrackets(Constraint):
    """Brackets of any kind, nested and closed, at least five deep."""

    id = "format:parentheses"

    def followed(self, text: str) -> bool:
        closing, open_, deepest = {"(": ")", "[": "]", "{": "}"}, list[tuple[str, int]](), 0
        for sign in text:
            if sign in closing:
                open_.append((closing[sign], 1))
            elif open_ and sign == open_[-1][0]:
                depth = open_.pop()[1]
                deepest = max(deepest, depth)
                if open_:
                    open_[-1] = (open_[-1][0], max(open_[-1][1], depth + 1))
            elif sign in closing.values():
                open_.clear()
        return deepest >= 5


class HtmlThesis(Constraint):
    """Each paragraph begins with text in `<i>` or `<em>`, and goes on after it, or in the next
    paragraph. A heading may come before it."""

    id = "format:thesis"

    def followed(self, text: str) -> bool:
        body = [line for line in text.splitlines() if not regex.match(r"\s*(?:#|<h\d>)", line)]
        found = paragraphs("\n".join(body))
        unfinished = False
        for one in found:
            thesis = regex.match(r"<(i|em)>\s*\w[^<]*</\1>", one)
            if (thesis is None) != unfinished:
                return False
            unfinished = thesis is not None and not words(one[thesis.end() :])
        return bool(found) and not unfinished


ALL = (
    NumberOfHighlights,
    NumberOfPlaceholders,
    Sections,
    Title,
    Postscript,
    OneOfThree,
    Json,
    TwoResponses,
    Options,
    Template,
    NoWhitespace,
    NestedBrackets,
    HtmlThesis,
)


def _bare(text: str) -> str:
    inner = regex.search(r"[\p{L}\p{N}](?:.*[\p{L}\p{N}])?", text, regex.DOTALL)
    return inner.group().casefold() if inner else ""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
