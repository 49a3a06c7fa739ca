"""Whether two texts are equal up to case, spacing and typography."""

import re

from rewards.answers import tidy
from rewards.spelling import uniform

_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_FORMULA = re.compile(r"\$([^$]+)\$|\\\((.+)\\\)")


def normalise(text: str) -> str:
    """`text` in a form for comparison. Numbers, superscripts and accents do not change. The result
    is empty only if `text` is."""
    even = tidy(uniform(text, numbers=False))
    for wrapped in (_FORMULA, _TEXT):
        match = wrapped.fullmatch(even)
        even = tidy(next(group for group in match.groups() if group is not None)) if match else even
    return " ".join(even.lower().split()) or text.strip()
