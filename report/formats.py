"""How numbers are written on the page. A cell keeps the name of its format beside the value, so
that a test can hold the text against the number."""

from collections.abc import Callable
from math import floor, log10
from typing import Any

NOTHING = "–"
"""Shown where there is no value."""


def _number(value: float) -> str:
    """Four significant digits; tiny and huge ones with an exponent."""
    if value == 0 or isinstance(value, int):
        return f"{value:,}"
    size = floor(log10(abs(value)))
    if size >= 15 or size < -3:
        return f"{value:.2e}"
    return f"{value:,.{max(0, 3 - size)}f}"


FORMATS: dict[str, Callable[[Any], str]] = {
    "percent": lambda value: f"{100 * value:.1f}",
    "change": lambda value: f"{100 * value + 0.0:+.1f}",
    "integer": lambda value: f"{value:,.0f}",
    "tenths": lambda value: f"{value:,.1f}",
    "hundredths": lambda value: f"{value:,.2f}",
    "number": _number,
}


def formatted(value: Any, name: str) -> str:
    """The value as the page shows it."""
    return NOTHING if value is None else FORMATS[name](value)
