"""Whether two texts are the same to a reader who does not mind case, spacing and typography."""

import re

from rewards.answers import tidy
from rewards.spelling import one_way

_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}")
_FORMULA = re.compile(r"\$([^$]+)\$|\\\((.+)\\\)")


def normalise(text: str) -> str:
    """`text` for comparison. Numbers, superscripts and accents stay what they are; never
    emptied."""
    even = tidy(one_way(text, numbers=False))
    for wrapped in (_FORMULA, _TEXT):
        match = wrapped.fullmatch(even)
        even = tidy(next(group for group in match.groups() if group is not None)) if match else even
    return " ".join(even.lower().split()) or text.strip()
