"""Words, sentences, lines and paragraphs of a text, as a person counts them."""

from functools import lru_cache

import regex

_NO_SPACES = r"[\p{Han}\p{Hiragana}\p{Katakana}ー々]"
"""Signs of scripts that are written without spaces, each counted as a word, as word processors
do."""
_WORD = regex.compile(
    rf"{_NO_SPACES}|(?:(?!{_NO_SPACES})[^\s\u2013\u2014]|(?<=\d)\u2013(?=\d))+", regex.V1
)
_HAS_LETTER = regex.compile(r"[\p{L}\p{N}]")
_INNER = regex.compile(r"[\p{L}\p{N}\p{Sc}](?:.*[\p{L}\p{N}\p{M}%])?")
_LIST_MARK = regex.compile(r"^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+", regex.MULTILINE)
_HEADING = regex.compile(r"^[ \t]*#{1,6}[ \t]", regex.MULTILINE)
_CLOSING = r"""["'”’»›)\]*_」』）]*"""
_STOP = regex.compile(
    rf"(?<![.!?…؟।॥‽])(?P<latin>[.!?…؟।॥‽]++{_CLOSING}+)(?=\s|$)|(?P<cjk>[。！？]+{_CLOSING})"
)
_ABBREVIATION = regex.compile(
    r"(?:^|[\s(\[\"'“‘])(?:[Mm]r|[Mm]rs|[Mm]s|[Mm]x|Dr|Prof|Rev|Hon|Capt|Col|Gen|Lt|Sgt|St|Ave|Mt"
    r"|[Jj]r|[Ss]r|vs|etc|e\.\s?g|i\.\s?e|cf|approx|[Nn]o|[Nn]os|[Ff]ig|[Vv]ol|pp?|ed|eds|al"
    r"|Inc|Ltd|Co|Corp|a\.m|p\.m|U\.S|U\.K|U\.N|Ph\.D|z\.\s?B|bzw|usw|d\.\s?h|Nr|ca"
    r"|[\p{Lu}](?:\.\s?\p{Lu})*)\.$"
)
_LONGEST_ABBREVIATION = 40
"""Characters before a stop that are looked at."""
_NEXT = regex.compile(r"\S")
_ENDS_ANYWAY = regex.compile(r"(?:etc|a\.m|p\.m|Inc|Ltd|Co|Corp|al|[Jj]r|[Ss]r|U\.S|U\.K|U\.N)\.$")
"""Abbreviations that often end a sentence; they do if a capital follows."""


def words(text: str) -> list[str]:
    """The words, without punctuation around them: what stands between spaces and has a letter or
    digit. "don't", "well-known" and "3.5" are one word each; a dash joins none. Of Chinese and
    Japanese each sign is one."""
    found = [word for word in _WORD.findall(text) if _HAS_LETTER.search(word)]
    return [inner.group() for word in found if (inner := _INNER.search(word))]


def lines(text: str) -> list[str]:
    """The lines that are not blank."""
    return [line for line in text.split("\n") if line.strip()]


def paragraphs(text: str) -> list[str]:
    """The paragraphs, which blank lines separate."""
    parts = regex.split(r"\n[ \t]*\n\s*", text.strip())
    return [part.strip() for part in parts if part.strip()]


def sentences(text: str) -> list[str]:
    """The sentences that have a letter or digit. A paragraph, a list item and a heading end one; a
    stop after an abbreviation, an initial or a list's number does not."""
    found: list[str] = []
    for block in _blocks(text):
        start = 0
        for stop in _STOP.finditer(block):
            if _ends(block, start, stop):
                found.append(block[start : stop.end()].strip())
                start = stop.end()
        found.append(block[start:].strip())
    return [sentence for sentence in found if _HAS_LETTER.search(sentence)]


def times(text: str, phrase: str) -> int:
    """How often `phrase` stands in `text` as whole words, whatever the case."""
    return len(_phrase(phrase.strip()).findall(text))


@lru_cache(maxsize=1024)  # every prompt may have phrases of its own
def _phrase(phrase: str) -> "regex.Pattern[str]":
    """A pattern for whole words; in scripts without spaces for any place."""
    spaced = r"\s+".join(map(regex.escape, phrase.split()))
    before, after = (
        "" if regex.match(_NO_SPACES, sign) or not regex.match(r"[\w]", sign) else look
        for sign, look in ((phrase[:1], r"(?<![\p{L}\p{N}])"), (phrase[-1:], r"(?![\p{L}\p{N}])"))
    )
    return regex.compile(before + spaced.replace("'", "['’]") + after, regex.IGNORECASE)


def _blocks(text: str) -> list[str]:
    """Paragraphs, list items and headings."""
    blocks: list[str] = []
    for paragraph in paragraphs(text):
        fresh = True
        for line in lines(paragraph):
            item = _LIST_MARK.match(line)
            bare = line[item.end() :] if item else line
            heading = bool(_HEADING.match(line))
            if fresh or item or heading or not blocks:
                blocks.append(bare.strip())
            else:
                blocks[-1] += f" {bare.strip()}"
            fresh = heading
    return blocks


def _ends(block: str, start: int, stop: "regex.Match[str]") -> bool:
    """Whether the sentence that begins at `start` ends with `stop`."""
    if stop["cjk"]:
        return True
    near = block[max(start, stop.end() - _LONGEST_ABBREVIATION) : stop.end()]
    before, following = near.rstrip("\"'”’»)]*_"), _NEXT.search(block, stop.end())
    if following is None:
        return True
    lower, upper = following.group().islower(), following.group().isupper()
    if before.endswith(("...", "…")):
        return not lower
    if not before.endswith("."):
        return not (lower and stop.group()[-1] in "\"'”’»)")  # "Why?" he asked
    if _ABBREVIATION.search(before):
        return upper and _ENDS_ANYWAY.search(before) is not None
    number = block[start : stop.end()].strip() if stop.end() - start < 8 else ""
    return not regex.fullmatch(r"\d+\.", number)
