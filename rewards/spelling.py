"""One spelling for text that can be written in several ways with one meaning: widths, minus signs,
LaTeX markup.

Superscripts and the like keep their meaning: `2⁵` is not 25.
"""

import re
import unicodedata

_MINUS = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212\ufe58\ufe63"), "-")
_SPACES = dict.fromkeys(
    map(ord, "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"), " "
)
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"), None)
_SINGLE = dict.fromkeys(map(ord, "\u2018\u2019\u201a\u2032\u00b4"), "'")
_DOUBLE = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u00ab\u00bb"), '"')
_WIDE = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_IN_NUMBERS = str.maketrans(
    {"\u3001": ",", "\u3002": ".", "\u066b": ".", "\u066c": ",", "\u0964": "."}
)
_UNIFORM = _MINUS | _SPACES | _INVISIBLE | _SINGLE | _DOUBLE | _WIDE

_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|boxed|fbox|bm|boldsymbol|emph)\s*\{([^{}]*)\}"
)
_FRACTION = re.compile(
    r"\\[dtc]?frac\s*(?:\{\s*(-?[0-9]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))"
)
_SPACED = re.compile(r"(?<!\\)\\[,;: ]|\\(?:quad|qquad|thinspace|enspace)\b|~")
_NOTHING = re.compile(
    r"\\!|\\(?:left|right|displaystyle|textstyle|bigl?|bigr|Bigl?|Bigr)(?![A-Za-z])"
)
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")


def uniform(text: str, *, numbers: bool = True) -> str:
    """`text` with one spelling for widths, spaces, minus signs and quotes; with `numbers`, also for
    the digits and commas of any script."""
    composed = unicodedata.normalize("NFC", text).translate(_UNIFORM)
    if not numbers:
        return composed
    composed = composed.translate(_IN_NUMBERS)
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() and c > "\x7f" else c for c in composed
    )


def without_latex(text: str, *, fractions: bool = True) -> str:
    """`text` (`uniform` already) without LaTeX markup around words and numbers, and with powers as
    `^`; with `fractions`, simple fractions as `1/2`."""
    text = text.replace("{,}", ",").replace("\\%", "%").replace("\\$", "$")
    text = re.sub(r"\\(?:\(|\)|\[|\])", " ", text)
    text = _NOTHING.sub("", _SPACED.sub(" ", text))
    while _WRAPPED.search(text):
        text = _WRAPPED.sub(lambda match: f" {match[1]} ", text)
    text = re.sub(r"\^\s*\{?\s*\\circ\s*\}?|\\degree\b", "°", text)
    if fractions:
        text = _FRACTION.sub(lambda match: f" {match[1] or match[2]}/{match[3] or match[4]} ", text)
    text = _VULGAR.sub(lambda match: _in_digits(match[0], fractions), text)
    text = _RAISED.sub(lambda match: f"^{{{match[0].translate(_SUPERSCRIPT)}}}", text)
    text = re.sub(r"\s+\^", "^", text)
    return " ".join(
        text.replace("\\times", "×").replace("\\cdot", "×").replace("\\approx", "≈").split()
    )


def _in_digits(sign: str, simple: bool) -> str:
    """A character such as `½` as a fraction in digits."""
    top, under = unicodedata.normalize("NFKC", sign).split("\u2044")
    return f" {top}/{under} " if simple else rf" \frac{{{top}}}{{{under}}} "
