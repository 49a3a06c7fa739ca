"""Detects replies that end in the middle: at the limit of tokens, or by their text inside a
block of code, a list, a quotation or a sentence.

Many whole answers have no full stop: a name, a list, a line of verse, a signature. So a missing
stop counts only after a sentence that has one, and the last word where no sentence ends with it."""

import json

import regex

from corner_cases.interface import CUT_OFF, Finding, Reply, finding
from corner_cases.last_words import goes_on_after
from prompts.schema import Prompt

CASE = "cut_off"
LONG_SENTENCE = 25
"""Words from which a single sentence without a stop is unfinished."""
_FENCE = regex.compile(r"^[ \t]*(```|~~~)", regex.MULTILINE)
_BARE_ITEM = regex.compile(r"^\s*(?:\d+[.)]|[-*+•])\s*$")
_ITEM = regex.compile(r"^\s*(?:\d+[.)]|[-*+•])\s+\S")
_STOPPED = regex.compile(r"""[.!?…。！？।؟۔‽](?:\s?["'”’»›)\]*_$}」』）])*$""")
_LINE_STOP = regex.compile(r"(?<!^\s*\d+)(?<!\b\p{L})[.!?।؟][\"'”’»)]*\s+(?=\S)|[。！？](?=\S)")
_GOES_ON = regex.compile(r"[,;:、，；：]$|\s[-–—(=+−×÷*/<>≈]$|[\p{L}][(]$")
_WHOLE_ANYWAY = regex.compile(
    r"(?:https?://\S+|[#@]\w+|`[^`]+`|\$|[\d\p{Sm}%°)\]]|\p{Emoji_Presentation}|\ufe0f|[*_~])$"
)
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+(?:['’-][\p{L}\p{M}]+)*")
_PAIRS = (("(", ")"), ("“", "”"), ("«", "»"), ("「", "」"), ("（", "）"), ("„", "“"))


def detect(prompt: Prompt, reply: Reply) -> Finding | None:
    """Whether a reply finished by the limit, or else what is unfinished at its end."""
    text = reply.text.rstrip()
    start = text.rfind("\n") + 1
    if reply.finish == CUT_OFF:
        return finding(CASE, "limit of tokens", reply.text, start)
    reason = _unfinished(text) if text else None
    return None if reason is None else finding(CASE, reason, reply.text, start)


def _unfinished(text: str) -> str | None:
    fences = _FENCE.findall(text)
    if len(fences) % 2:
        return "block of code without an end"
    last = text[text.rfind("\n") + 1 :]
    if fences and last.strip() in ("```", "~~~"):
        return None
    if text.lstrip()[:1] in ("{", "[") and _is_open_json(text):
        return "JSON without an end"
    if last.lstrip().startswith("|"):
        return _unfinished_table(text)
    if _BARE_ITEM.match(last) and "\n" in text:
        return "empty item of a list"
    if _STOPPED.search(last) or _is_code(last):
        return None
    return _unfinished_prose(text, last)


def _unfinished_prose(text: str, last: str) -> str | None:
    words = _WORD.findall(last)
    if _open_formula(text):
        return "formula without an end"
    if len(words) < 3 and not regex.search(r"[\p{Han}\p{Hiragana}]{4}", last):
        return None
    if _GOES_ON.search(last):
        return "sentence that goes on"
    if any(last.count(opening) > last.count(closing) for opening, closing in _PAIRS):
        return "bracket or quotation without an end"
    if last.count('"') % 2:
        return "bracket or quotation without an end"
    if last[-1].isalpha() and goes_on_after(_WORD.findall(text)):
        return "word that ends no sentence"
    if _WHOLE_ANYWAY.search(last):
        return None
    if _ITEM.match(last):
        return _unfinished_item(text)
    prose = _LINE_STOP.search(last) or len(words) >= LONG_SENTENCE
    return "sentence without a stop" if prose and not _is_verse(text) else None


def _unfinished_item(text: str) -> str | None:
    """The last item of a list lacks the stop that all others have."""
    *others, _ = (line for line in text.split("\n") if _ITEM.match(line))
    stopped = all(_STOPPED.search(item.rstrip()) for item in others)
    return "item of a list without a stop" if others and stopped else None


def _is_verse(text: str) -> bool:
    """Whether the lines before the last one have no stops either."""
    others = text.rpartition("\n\n")[2].split("\n")[:-1]
    return len(others) > 1 and not any(_STOPPED.search(line.rstrip()) for line in others)


def _unfinished_table(text: str) -> str | None:
    rows = [line.strip() for line in text.split("\n") if line.lstrip().startswith("|")]
    cells = [row.count("|") for row in rows]
    return "row of a table without an end" if cells[-1] < cells[0] else None


def _is_open_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) or text.count("{") > text.count("}")
    return False


def _is_code(line: str) -> bool:
    """Whether a line is indented as code is, or has its signs at the end."""
    return line.startswith(("    ", "\t")) or line.endswith(("{", "}", ");", "/>"))


def _open_formula(text: str) -> bool:
    """A dollar sign without its second, before a command of LaTeX. Prices have none."""
    rest = text.replace("$$", "")
    unpaired = rest.count("$") % 2 and "\\" in rest[rest.rfind("$") :]
    return bool(unpaired) or text.count("$$") % 2 == 1
