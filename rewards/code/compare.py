"""Whether a program printed what was expected, as programming contests compare it."""

import math
import re
from decimal import Decimal

TOLERANCE = 1e-6
"""Largest difference of two decimal numbers, absolute or relative to the expected one."""
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
    if _WHOLE.fullmatch(wanted) and _DECIMAL.fullmatch(word):
        return len(word) < 400 and abs(Decimal(word) - Decimal(wanted)) <= Decimal("1e-6")
    if not (_DECIMAL.fullmatch(wanted) and _NUMBER.fullmatch(word)):
        return False
    number, target = float(word), float(wanted)
    return math.isfinite(number) and abs(number - target) <= TOLERANCE * max(1.0, abs(target))
