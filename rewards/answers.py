"""Finds the final answer in a completion: one span of text, by the same rules for every model and
verifier.

A base model explains at length, a trained one answers in one word. Both must be graded by what they
answer, not by its form, so several places are searched, the most explicit first. The verifier
interprets the span."""

import re
from functools import cache

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"(?:\banswer\b(?:\s+to\s+[^.\n:]{1,60}?)?[*_ \t]{0,4}(?:(?:is|would be|must be|should"
    r" be|equals)\b|[:：=])"
    r"|(?:答案|答え|答)[*_ \t]{0,4}(?:[是为為は]|[:：])"
    r"|\b(?:antwort|lösung|réponse|respuesta|risposta|resposta)\b[*_"
    r" \t]{0,4}(?:(?:ist|est|es|è|é)(?!\w)|\s?[:：]))"
    r"[:：*\s]{0,8}",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(r"(?<=[^\s.])\.+(?=\s)|(?<=[!?])\s|。")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[^\n`]*$", re.MULTILINE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)|\\boxed[ ]+([^\s{}$\\]+)")
_JOINT = re.compile(r"[\s$,;]*(?:(?:or|and)|\\text\{\s*(?:or|and)\s*\})?[\s$,;]*")
_CORRECTED = re.compile(
    r"\b(?:wait|actually|correction|scratch that|i mean|on second thought|i made an?"
    r" (?:mistake|error)|(?:no|sorry),)"
    r"(?!\w)",
    re.IGNORECASE,
)
"""Words that retract the answer before them; then the last line counts."""
_BARE_NUMBER = re.compile(r"[-+$€£\\\u2212]*[0-9][0-9,.]*\s*%?")
_NO_CONTENT = re.compile(r"\s*(?:\\end\{\w+\*?\}|[^\w\s]*)\s*")
"""A line that only closes a formula or a list, or a horizontal rule: `\\]`, `$$`, `---`."""
_SIGN_OFF = re.compile(
    r"\W*(?:i hope (?:this|that|it)|hope (?:this|that) helps|let me know|feel free|please let me"
    r" know|happy to help"
    r"|is there anything else|good luck|have a (?:nice|great|good) day)\b",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^\s*[-+*]\s+(?=\*\*|[_`])")
"""The bullet of a list before emphasis, which is no sign."""
_EMPHASIS = ("**", "__", "*", "_", "`")
_AROUND = "*_`\"'“”„‘’‚«»‹›「」『』 \t\r\n"


def final_answer(text: str) -> str:
    """The final answer in `text`: the content of the last `<answer>` tag, else the text after
    `####`, else the last complete `\\boxed{}`, else the text after "answer is" or "answer:", else
    the last line that is not empty. Without code fences, markdown and the closing full stop. Empty
    if `text` is."""
    return next(iter(candidates(text)), "")


def read_answer(text: str, reference: str) -> str:
    """The answer in `text`, in as many lines as `reference` has; the reference itself if it equals
    `text` or the content of its last tag."""
    tag = _last_tag(text)
    for whole in (text, tag or ""):
        if whole.strip() and whole.strip() == reference.strip():
            return reference
    if "\n" in reference.strip():
        return _block(text, len(reference.strip().splitlines()))
    return next(iter(candidates(text, keep=tidy(reference) != reference.strip())), "")


def tidy(text: str) -> str:
    """`text` without surrounding space, markdown, quotes and the closing full stop, unless nothing
    else is there."""
    bare = _BULLET.sub("", text).strip().strip(_AROUND)
    for stop in (".", "。", "．"):
        bare = bare.rstrip(stop).rstrip(_AROUND) if bare.endswith(stop) else bare
    for mark in _EMPHASIS:
        if _opened(mark).search(bare) and f"{bare}{mark}" in text:
            bare += mark  # "The total is **22**": the mark belongs to a part of the text
            break
        if _closed(mark).search(bare) and f"{mark}{bare}" in text:
            bare = mark + bare
            break
    return bare or text.strip()


@cache
def _opened(mark: str) -> re.Pattern[str]:
    """A mark after which a part of a text is emphasised to its end."""
    sign = re.escape(mark)
    return re.compile(rf"(?<![\w*`]){sign}(?![\s*_`])(?!.*[^\s*_`]{sign}(?![\w*`]))", re.DOTALL)


@cache
def _closed(mark: str) -> re.Pattern[str]:
    """A mark that ends the emphasis of a text's beginning."""
    sign = re.escape(mark)
    return re.compile(rf"^(?:(?!{sign}).)*[^\s*_`]{sign}(?![\w*`])", re.DOTALL)


def candidates(text: str, keep: bool = False) -> list[str]:
    """Every span that may be the answer, the most explicit first, tidied unless `keep`; none is
    empty."""
    text = _FENCE.sub("", text)
    places = [
        _last_tag(text),
        _after_hashes(text),
        _last_boxed(text),
        _after_phrase(text),
        _last_line(text),
    ]
    spans = [(place.strip() if keep else tidy(place)) for place in places if place is not None]
    return [span for span in spans if span]


def _block(text: str, lines: int) -> str:
    """An answer of several lines: the last tag, else all text after the last "answer is", else the
    last `lines` lines."""
    text = _FENCE.sub("", text)
    tag, phrases = _last_tag(text), list(_PHRASE.finditer(text))
    if tag and tag.strip():
        return tag.strip()
    if phrases:
        return text[phrases[-1].end() :].strip()
    return "\n".join(text.strip().splitlines()[-lines:])


def _last_tag(text: str) -> str | None:
    start, content = None, None
    for tag in _TAG.finditer(text):
        if not tag[1]:
            start = tag.end()
        elif start is not None:
            content, start = text[start : tag.start()], None
    return content


def _after_hashes(text: str) -> str | None:
    """The text after `####`. As that is also a markdown heading, it counts only if it ends the text
    or is a number."""
    for match in reversed(list(_HASHES.finditer(text))):
        if not text[match.end() :].strip() or _BARE_NUMBER.fullmatch(match[1].strip()):
            return match[1]
    return None


def _last_boxed(text: str) -> str | None:
    """The content of the last box with balanced braces that is inside no other box. Several boxes
    joined by "or", "and" or a comma are one answer."""
    content, end = None, 0
    for match in _BOX.finditer(text):
        if match.start() < end:
            continue
        close = match.end() if match[1] is not None else _closing_brace(text, match.end())
        if close is None:
            continue
        inside = match[1] if match[1] is not None else text[match.end() + 1 : close]
        between = text[end + 1 : match.start()]
        joined = content is not None and _JOINT.fullmatch(between)
        content = f"{content} {between.replace('$', ' ')} {inside}" if joined else inside
        end = close
    return None if _CORRECTED.search(text[end:]) else content


def _closing_brace(text: str, start: int) -> int | None:
    """The index of the brace that closes the one at `start`; None if there is none."""
    depth = 0
    for index in range(start, len(text)):
        if text[index - 1] != "\\":
            depth += {"{": 1, "}": -1}.get(text[index], 0)
        if not depth:
            return index
    return None


def _after_phrase(text: str) -> str | None:
    """The text after the last "answer is" or "answer:", up to the end of the line or clause."""
    found = list(_PHRASE.finditer(text))
    found = [one for one in found if text[one.end() :].split("\n", maxsplit=1)[0].strip()]
    if not found or _CORRECTED.search(text[found[-1].end() :]):
        return None
    line = text[found[-1].end() :].split("\n", maxsplit=1)[0]
    if line.count("**") % 2 and found[-1].group().endswith("**"):
        line = f"**{line}"  # Answer: **42** apples
    line = line.lstrip("} ")  # \text{The answer is } 42
    return _CLAUSE_END.split(line, maxsplit=1)[0]


def _last_line(text: str) -> str | None:
    lines = [line for line in reversed(text.splitlines()) if line.strip()]
    filled = [line for line in lines if not _NO_CONTENT.fullmatch(line)] or lines
    first = filled[0] if filled else None
    return next((line for line in filled if not _SIGN_OFF.match(line)), first)
