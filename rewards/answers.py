"""Reading the final answer out of a completion, the same way for every model.

A base model explains and wanders, a trained one answers in one word; both must be judged by what they answer and not
by how. So the reader looks in several places, most explicit first, and a number is looked for as a number.
"""

import re
import unicodedata
from decimal import Decimal

_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_PHRASE = re.compile(r"\banswer\b[*_ \t]{0,4}(?:is\b|:)[:*\s]{0,8}([^\n]*)", re.IGNORECASE)
_CLAUSE_END = re.compile(r"(?<=[^\s.!?])[.!?]+(?=\s)")
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[-+])?[$€£]?(?P<inner>(?<=[$€£])[-+])?"
    r"(?P<digits>(?<![\w.])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![\w.])\.[0-9]+)"
    r"(?P<power>[eE][-+]?[0-9]{1,3}(?![\w.]))?"
)
_MINUS = str.maketrans({"\u2212": "-", "\u2013": "-", "\ufe63": "-", "\uff0d": "-"})


def final_answer(text: str) -> str:
    """What `text` gives as its answer: the content of the last `<answer>` tag, else what follows `####`, else the last
    `\\boxed{}`, else what follows "answer is" or "answer:", else the last line that is not empty. Without markdown and
    the closing full stop. Empty if `text` is."""
    return next(iter(_candidates(text)), "")


def read_answer(text: str, reference: str) -> str:
    """The answer in `text`, read in the light of `reference`.

    If the reference is a number, the last number of the first place that has one, in the reference's own spelling if
    they are equal. A text that is the reference, or a tag that holds it, is taken as it is.
    """
    tag = _last_tag(text)
    for whole in (text, tag or ""):
        if whole.strip() and whole.strip() == reference.strip():
            return reference
    wanted = plain_number(reference)
    if wanted is None:
        if "\n" in reference.strip():
            return _block(text, len(reference.strip().splitlines()))
        return next((found for found in _candidates(text, keep=tidy(reference) != reference.strip())), "")
    for place in [tag] if tag and tag.strip() else [*_candidates(text), text]:
        found = last_number(place)
        if found is not None:
            return reference if found == wanted else f"{found:f}"
    return final_answer(text)


def normalise(text: str) -> str:
    """`text` for comparison: compatibility forms, case and spacing evened out, markdown and full stop removed."""
    return " ".join(unicodedata.normalize("NFKC", tidy(text)).casefold().split()) or text.strip()


def tidy(text: str) -> str:
    """`text` without surrounding space, markdown, quotes and the closing full stop; never emptied by that."""
    bare = text.strip().strip("*_`\"'").strip()
    bare = bare.rstrip(".").rstrip("*_`\"' ") if bare.endswith(".") else bare
    return bare or text.strip()


def plain_number(text: str) -> Decimal | None:
    """The number that `text` is and nothing else, e.g. `-1,234.50`; None if it is anything else."""
    bare = text.strip().translate(_MINUS)
    match = _NUMBER.fullmatch(bare)
    return _value(match) if match else None


def last_number(text: str) -> Decimal | None:
    """The last number in `text`, without thousands commas and currency; None if there is none."""
    last = None
    for last in _NUMBER.finditer(text.translate(_MINUS)):  # noqa: B007
        pass
    return _value(last) if last else None


def _value(match: re.Match[str]) -> Decimal:
    sign = match["sign"] or match["inner"] or ""
    return Decimal(sign + match["digits"].replace(",", "") + (match["power"] or ""))


def _candidates(text: str, keep: bool = False) -> list[str]:
    """Every place that may hold the answer, most explicit first, tidied unless `keep`; no empty ones."""
    places = [_last_tag(text), _after_hashes(text), _last_boxed(text), _after_phrase(text), _last_line(text)]
    shaped = [(place.strip() if keep else tidy(place)) for place in places if place is not None]
    return [place for place in shaped if place]


def _block(text: str, lines: int) -> str:
    """An answer of several lines: the last tag, else all that follows the last "answer is", else the last `lines`."""
    tag, phrases = _last_tag(text), list(_PHRASE.finditer(text))
    if tag and tag.strip():
        return tag.strip()
    if phrases:
        return text[phrases[-1].start(1) :].strip()
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
    """After `####`, which is also a markdown heading: it counts if it ends the text or holds a plain number."""
    for match in reversed(list(_HASHES.finditer(text))):
        if not text[match.end() :].strip() or plain_number(tidy(match[1])) is not None:
            return match[1]
    return None


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return text[begin:position]
    return None


def _after_phrase(text: str) -> str | None:
    """After the last "answer is" or "answer:", up to the end of the line or of the clause."""
    found = [match[1] for match in _PHRASE.finditer(text) if match[1].strip()]
    return _CLAUSE_END.split(found[-1], maxsplit=1)[0] if found else None


def _last_line(text: str) -> str | None:
    return next((line for line in reversed(text.splitlines()) if line.strip()), None)
