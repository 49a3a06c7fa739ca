"""Whether a program printed what was expected, as programming contests compare it."""

import math
import re
from fractions import Fraction

TOLERANCE = 1e-6
"""Largest difference of two decimal numbers, absolute or relative to the expected one; of a decimal
number and a whole one that is expected, absolute."""
LONGEST = 400
"""Digits and exponents from here on are of no number that a program is asked for."""
_WHOLE = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def same_output(printed: str, expected: str) -> bool:
    """Word by word, whatever the spaces and line ends between. Words are equal as texts; decimal
    numbers within the tolerance, and two whole numbers exactly."""
    words, wanted = printed.split(), expected.split()
    return len(words) == len(wanted) and all(map(_same, words, wanted))


def _same(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    if _WHOLE.fullmatch(wanted) and (match := _DECIMAL.fullmatch(word)):
        sizes = len(word), len(wanted), abs(int((match[2] or "e0")[1:]))
        return max(sizes) < LONGEST and abs(Fraction(word) - int(wanted)) <= Fraction("1e-6")
    if not (_DECIMAL.fullmatch(wanted) and _NUMBER.fullmatch(word)):
        return False
    number, target = float(word), float(wanted)
    finite = math.isfinite(number) and math.isfinite(target)
    return finite and abs(number - target) <= TOLERANCE * max(1.0, abs(target))
