"""Finding the final answer in a completion: one span of text, the same for every model and every
verifier.

A base model explains and wanders, a trained one answers in one word; both must be judged by what
they answer and not by how. So several places are looked at, most explicit first. What the span
means is the verifier's business."""

import re

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
"""What takes back the answer before it; then the last line counts."""
_BARE_NUMBER = re.compile(r"[-+$€£\\\u2212]*[0-9][0-9,.]*\s*%?")
_NO_CONTENT = re.compile(r"\s*(?:\\end\{\w+\*?\}|[^\w\s]*)\s*")
"""A line that closes a formula or a list, or rules off what comes before: `\\]`, `$$`, `---`."""
_SIGN_OFF = re.compile(
    r"\W*(?:i hope (?:this|that|it)|hope (?:this|that) helps|let me know|feel free|please let me"
    r" know|happy to help"
    r"|is there anything else|good luck|have a (?:nice|great|good) day)\b",
    re.IGNORECASE,
)
_AROUND = "*_`\"'“”„‘’‚«»‹›「」『』 \t\r\n"


def final_answer(text: str) -> str:
    """What `text` gives as its answer: the content of the last `<answer>` tag, else what follows
    `####`, else the last whole `\\boxed{}`, else what follows "answer is" or "answer:", else the
    last line that is not empty. Without code fences, markdown and the closing full stop. Empty if
    `text` is."""
    return next(iter(candidates(text)), "")


def read_answer(text: str, reference: str) -> str:
    """The answer in `text`, in as many lines as `reference` has; the reference itself where `text`,
    or a tag in it, is that and nothing else."""
    tag = _last_tag(text)
    for whole in (text, tag or ""):
        if whole.strip() and whole.strip() == reference.strip():
            return reference
    if "\n" in reference.strip():
        return _block(text, len(reference.strip().splitlines()))
    return next(iter(candidates(text, keep=tidy(reference) != reference.strip())), "")


def tidy(text: str) -> str:
    """`text` without surrounding space, markdown, quotes and the closing full stop; never emptied
    by that."""
    bare = text.strip().strip(_AROUND)
    for stop in (".", "。", "．"):
        bare = bare.rstrip(stop).rstrip(_AROUND) if bare.endswith(stop) else bare
    return bare or text.strip()


def candidates(text: str, keep: bool = False) -> list[str]:
    """Every place that may hold the answer, most explicit first, tidied unless `keep`; no empty
    ones."""
    text = _FENCE.sub("", text)
    places = [
        _last_tag(text),
        _after_hashes(text),
        _last_boxed(text),
        _after_phrase(text),
        _last_line(text),
    ]
    shaped = [(place.strip() if keep else tidy(place)) for place in places if place is not None]
    return [place for place in shaped if place]


def _block(text: str, lines: int) -> str:
    """An answer of several lines: the last tag, else all that follows the last "answer is", else
    the last `lines`."""
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
    """After `####`, which is also a markdown heading: it counts if it ends the text or is a
    number."""
    for match in reversed(list(_HASHES.finditer(text))):
        if not text[match.end() :].strip() or _BARE_NUMBER.fullmatch(match[1].strip()):
            return match[1]
    return None


def _last_boxed(text: str) -> str | None:
    """The content of the last box whose braces are balanced and that is in no other box; several
    that are joined by "or", "and" or a comma are one answer."""
    content, end = None, 0
    for match in _BOX.finditer(text):
        if match.start() < end:
            continue
        close = match.end() if match[1] is not None else _closing_brace(text, match.end())
        if close is None:
            continue
        found = match[1] if match[1] is not None else text[match.end() + 1 : close]
        between = text[end + 1 : match.start()]
        joined = content is not None and _JOINT.fullmatch(between)
        content, end = (
            (f"{content} {between.replace('$', ' ')} {found}" if joined else found),
            close,
        )
    return None if _CORRECTED.search(text[end:]) else content


def _closing_brace(text: str, start: int) -> int | None:
    """The place of the brace that closes the one at `start`; None if there is none."""
    depth = 0
    for place in range(start, len(text)):
        if text[place - 1] != "\\":
            depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    return None


def _after_phrase(text: str) -> str | None:
    """After the last "answer is" or "answer:", up to the end of the line or of the clause."""
    found = [match.end() for match in _PHRASE.finditer(text)]
    found = [end for end in found if text[end:].split("\n", maxsplit=1)[0].strip()]
    if not found or _CORRECTED.search(text[found[-1] :]):
        return None
    said = text[found[-1] :].split("\n", maxsplit=1)[0].lstrip("} ")  # \text{The answer is } 42
    return _CLAUSE_END.split(said, maxsplit=1)[0]


def _last_line(text: str) -> str | None:
    lines = [line for line in reversed(text.splitlines()) if line.strip()]
    said = [line for line in lines if not _NO_CONTENT.fullmatch(line)] or lines
    return next((line for line in said if not _SIGN_OFF.match(line)), said[0] if said else None)
