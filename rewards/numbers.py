"""Reads a span of text as one number with its notation: separators, currency, percent sign, unit,
noun.

No number is picked out of a longer text: a span with a second number, an operator, a bound or a
negation is not a number."""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from rewards.spelling import uniform, without_latex
from rewards.units import SYMBOLS, Unit, read_unit
from rewards.wording import BEFORE, NEVER, NOT_IN_REMARK, OPERATOR

_GROUPED = (
    r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?:[ '_][0-9]{3})+(?![0-9])"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])"
)
_DIGITS = rf"(?P<digits>(?:{_GROUPED}|[0-9]+)(?:\.[0-9]+|\.(?![0-9]))?|\.[0-9]+)"
_POWER_OF_TEN = r"10\s*\^\s*\{?\s*(?P<NAME>[-+]?[0-9]{1,4})\s*\}?"
_NUMBER = re.compile(
    r"(?P<word>\b(?:minus|negative)\s+)?(?P<sign>[-+]\s*)?(?:\b(?:US|Rs\.?))?\s*"
    rf"(?P<currency>[{SYMBOLS}])?\s*(?P<inner>[-+])?"
    rf"(?:{_POWER_OF_TEN.replace('NAME', 'alone')}"
    r"|(?P<whole>[0-9]+)\s+(?P<over>[0-9]+)\s*/\s*(?P<under>[0-9]+)|(?P<top>[0-9]+)\s*/\s*(?P<bottom>[0-9]+)"
    rf"|{_DIGITS}(?:[eE](?P<exponent>[-+]?[0-9]{{1,4}})(?![0-9])|\s*[×x*·]\s*{_POWER_OF_TEN.replace('NAME', 'ten')})?)",  # noqa: E501
    re.IGNORECASE,
)
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE = re.compile(r"\s*(hundred|thousand|million|billion|trillion|dozen)\b", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(?:%|percent\b|per cent\b)", re.IGNORECASE)
_REMARK = re.compile(
    r"(?<=\S)(?:\s+\(([^()]*[^\W\d_]{2}[^()]*)\)|\s*\(([^()\x00-\x7f]+)\))(?=[^0-9()]*$)"
)
_EQUALITY = re.compile(
    r"=|≈|→|⇒|\\(?:Rightarrow|implies|to)\b|:\s|\b(?:is|are|was|were|be|equals|equal to|makes)\b",
    re.IGNORECASE,
)
_SAID_OF = re.compile(
    r"(?<![\w\\])[A-Za-z]\w*\s*[=≈:]|\b(?:is|are|was|were|equals|makes)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[^\s.]{2}[.!?])\s+|(?<=[0-9][.!?])\s+(?=[A-Z])")
_LEFT_OVER = re.compile(r"[\s,.;'\"\-/]|[^\W\d_]")
_REPEATING = re.compile(r"(?<![0-9.,])([0-9]*)\.([0-9]*)\\overline\s*\{?([0-9]+)\}?")
_EMPHASIS = re.compile(r"(?<![\w*`])(\*\*|__|[*_`])(?=\S)(.+?)(?<=\S)\1(?![\w*`])")
"""Markdown's bold, italic and code."""
_MOST_DIGITS = 4000
"""Python refuses to read longer numbers."""
_COLON = re.compile(r"-?[0-9]{1,4}(?::[0-9]{1,2}){1,2}(?:\s*[ap]\.?m\.?)?", re.IGNORECASE)
_WHOLE_POWER = re.compile(r"(?P<base>[0-9]{1,6})\s*\^\s*\{?\s*(?P<exponent>[0-9]{1,3})\s*\}?")


@dataclass(frozen=True)
class Quantity:
    """A number with its unit."""

    value: Fraction | tuple[str, ...]
    """Exact; or the parts between colons, as of a time."""
    unit: Unit | None = None
    """None without a known unit."""

    def equals(self, other: "Quantity") -> bool:
        """Whether both are equal. A unit that is unknown, or that only one has, is ignored."""
        if (
            isinstance(self.value, tuple)
            or isinstance(other.value, tuple)
            or not self.unit
            or not other.unit
        ):
            return self.value == other.value
        kinds, factor = self.unit
        other_kinds, other_factor = other.unit
        return kinds == other_kinds and self.value * factor == other.value * other_factor


def read_number(text: str, *, algebra: bool = False) -> Quantity | None:
    """The number that `text` states, in any notation and with words around it; None if it is not
    one number.

    With `algebra` a letter directly after the digits is a variable, as in `42m`, and words are not
    part of a number."""
    plain = without_latex(_REPEATING.sub(_as_fraction, uniform(text)))
    plain = _EMPHASIS.sub(r" \2 ", plain)
    if _COLON.fullmatch(plain.strip(" .$")):
        return _between_colons(plain.strip(" .$"))
    remark = _REMARK.search(plain)
    if remark:
        if NOT_IN_REMARK.search(remark[1] or remark[2]):
            return None
        plain = plain[: remark.start()] + plain[remark.end() :]
    plain = _unwrapped(plain)
    if not algebra:
        return _in_words(plain)
    sentence = NEVER.search(plain) or OPERATOR.search(plain) or _EQUALITY.search(plain)
    return None if sentence else _strict(plain, algebra=True)


def read_reference(text: str) -> Quantity | None:
    """The number that a reference answer states; a power of whole numbers, `2^{10}`, is one too."""
    power = _WHOLE_POWER.fullmatch(without_latex(uniform(text)).strip(" $"))
    if power and power["base"] != "10":
        return Quantity(Fraction(int(power["base"]) ** int(power["exponent"])))
    return read_number(text)


def plain(value: Fraction) -> str:
    """A value as text: a decimal if it is finite, else a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest != 1:
        return str(value)
    places = next(n for n in range(1, 5000) if (value * 10**n).denominator == 1)
    digits = str(abs(value.numerator) * 10**places // value.denominator).zfill(places + 1)
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _as_fraction(match: re.Match[str]) -> str:
    """A repeating decimal, `0.1\\overline{6}`, as `1/6`."""
    fixed, repeated = len(match[2]), len(match[3])
    top = int(match[1] + match[2] + match[3]) - int(match[1] + match[2] or "0")
    value = Fraction(top, (10**repeated - 1) * 10**fixed)
    return f"{value.numerator}/{value.denominator}"


def _between_colons(text: str) -> Quantity:
    parts = re.split(r":|\s+", text.lower())
    return Quantity(tuple(part.lstrip("0") or "0" for part in parts))


def _unwrapped(text: str) -> str:
    """`text` without the dollar signs of a formula and without brackets around all of it."""
    text = re.sub(r"\$([^$]*[^$\s][^$]*)\$(?![0-9])", r" \1 ", text).strip()
    while (
        (text[:1], text[-1:]) in {("(", ")"), ("{", "}")}
        and not re.search(r"[(){}]", text[1:-1])
        and "," not in text
    ):
        text = text[1:-1].strip()
    return text


def _in_words(text: str) -> Quantity | None:
    """The number in a sentence: in the text after its last "is" or `=`, or in all of it."""
    signed = re.sub(r"\b(?:minus|negative)\s+(?=[$€£]?[0-9])", "-", text, flags=re.IGNORECASE)
    if NEVER.search(signed):
        return None
    # "What is 5 + 7? 5 + 7 = 12": the last sentence that has a number.
    sentences = [part for part in _SENTENCE_END.split(signed) if re.search("[0-9]", part)]
    signed = sentences[-1] if sentences else signed
    *before, last = _EQUALITY.split(signed)
    several = len(_SAID_OF.findall(signed)) > 1
    if several and any(re.search(r"[;,]\s|\band\b|[0-9]", part) for part in before[1:]):
        return None  # x=1, y=2; but "3*3=9, so 9*60=540" states one value
    if not re.search("[0-9]", last):
        last = signed if not re.search(r"[=≈]", signed) else ""
    return None if OPERATOR.search(last) else _strict(last)


def _strict(text: str, *, algebra: bool = False) -> Quantity | None:
    """The one number in a text without equalities; None if anything but words is left over."""
    colon = None if algebra else _COLON.search(text)
    if colon and not re.search(r"[\x21-\x7e]$", text[: colon.start()]):
        before, after = text[: colon.start()], text[colon.end() :]
        return _with_words(_between_colons(colon.group()), before, after, algebra)
    match = _NUMBER.search(text)
    if match is None or len(match.group()) > _MOST_DIGITS:
        return None
    value = _value(match)
    if value is None:
        return None
    before, after = text[: match.start()], text[match.end() :]
    touching = not match.group()[0].isspace() and re.search(r"[\x21-\x7e\u0370-\u03ff]$", before)
    if touching or (algebra and before.strip()):
        return None
    scale = _SCALE.match(after)
    if scale:
        word = scale[1].lower()
        value *= 12 if word == "dozen" else 10 ** _SCALES[word]
        after = after[scale.end() :]
    percent = _PERCENT.match(after)
    if percent:
        return _with_words(Quantity(value), before, after[percent.end() :], algebra)
    return _with_unit(value, match["currency"], before, after, algebra)


def _value(match: re.Match[str]) -> Fraction | None:
    signs = [
        part for part in (match["word"], match["sign"], match["inner"]) if part and part.strip()
    ]
    if len(signs) > 1:
        return None
    if match["alone"]:
        size = Fraction(10) ** int(match["alone"])
    elif match["under"] or match["bottom"]:
        under = int(match["under"] or match["bottom"])
        if not under:
            return None
        size = int(match["whole"] or 0) + Fraction(int(match["over"] or match["top"]), under)
    else:
        size = Fraction(re.sub("[ ,'_]", "", match["digits"]))
        size *= Fraction(10) ** int(match["exponent"] or match["ten"] or 0)
    negative = bool(signs) and (signs[0].strip().lower() in ("-", "minus", "negative"))
    return -size if negative else size


def _with_unit(
    value: Fraction, currency: str | None, before: str, after: str, algebra: bool
) -> Quantity | None:
    attached = re.match(r"[^\W\d_]+|°", after)
    words = after.strip().rstrip(".,").strip()
    unit = read_unit(words) if words else None
    if algebra and attached and unit and re.fullmatch("[A-Za-z]", attached[0]):
        return None
    if unit is None and attached and re.fullmatch("[A-Za-z\u0370-\u03ff]{1,2}", attached[0]):
        return None  # 2x, 3rd, 5ab
    if attached and attached[0] == "s" and value >= 1000 and value % 10 == 0:
        return None  # the 1990s
    if unit is not None:
        after = ""
    if currency:
        unit = read_unit(currency)
    return _with_words(Quantity(value, unit), before, after, algebra)


def _with_words(quantity: Quantity, before: str, after: str, algebra: bool) -> Quantity | None:
    """The quantity, if there are only words around it."""
    if any(
        not _LEFT_OVER.fullmatch(c) and unicodedata.category(c)[0] != "M" for c in before + after
    ) or BEFORE.sub("", before):
        return None
    if re.search(r"\d", before + after) or re.search(r"^\s*-\s*(?![^\W\d_]{2})|^\s*/", after):
        return None
    singles = re.findall(r"(?<![\w'])[^\W\d_](?![\w'])", f"{before} | {after}".replace(" | ", " "))
    if any(single < "\u0400" and single not in "aAI" for single in singles):
        return None
    if re.search(r"\ba\s*\.?$", after) or (algebra and re.search(r"[A-Za-z]", before)):
        return None
    return quantity
