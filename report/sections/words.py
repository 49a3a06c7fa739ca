"""Numbers in sentences."""

from collections.abc import Iterable, Mapping
from typing import Any


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def interval(cell: Mapping[str, Any]) -> str:
    """`54.5 % [47.8, 61.1]`."""
    low, high = 100 * cell["low"], 100 * cell["high"]
    return f"{percent(cell['value'])} [{low:.1f}, {high:.1f}]"


def change(cell: Mapping[str, Any]) -> str:
    """`+44.5 points`."""
    return f"{100 * cell['change'] + 0.0:+.1f} points"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = list(names)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
