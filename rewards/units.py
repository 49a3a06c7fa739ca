"""Units of numbers, with their factor to the first unit of their kind."""

import re
from fractions import Fraction

_KINDS = (
    (
        "m meter 1, mm millimeter 1/1000, cm centimeter 1/100, dm decimeter 1/10, km kilometer"
        " 1000, inch inches 127/5000, ft foot feet 381/1250, yd yard 1143/1250, mi mile 201168/125"
    ),
    (
        "kg kilogram kilo 1, mg milligram 1/1000000, g gram 1/1000, t ton tonne 1000, lb lbs pound"
        " 45359237/100000000, oz ounce 45359237/1600000000"
    ),
    "s sec second 1, ms millisecond 1/1000, min minute 60, h hr hour 3600, day 86400, week 604800",
    "l L liter 1, ml mL milliliter 1/1000, cl centiliter 1/100",
    "month 1, year 12",
    "° deg degree 1",
    "rad radian 1",
    "°C celsius 1",
    "°F fahrenheit 1",
    "K kelvin 1",
    "J joule 1, kJ kilojoule 1000",
    "W watt 1, kW kilowatt 1000",
    "V volt 1",
    "A amp ampere 1",
    "N newton 1",
    "Hz hertz 1",
    "Pa pascal 1",
    "Ω ohm 1",
    "mol mole 1",
    "$ dollar USD 1, cent 1/100",
    "€ euro EUR 1",
    "£ GBP 1",
    "¥ yen yuan JPY CNY RMB 1",
    "₹ rupee INR 1",
    "₽ ruble 1",
    "₩ won 1",
)
"""Units that convert into each other: names, and the factor to the first. Years do not convert to
days."""
_ALIKE = {"metre": "meter", "litre": "liter", "gramme": "gram"}
_SHORT = {
    "mph": "mi/h",
    "kph": "km/h",
    "kmh": "km/h",
    "kmph": "km/h",
    "sqm": "m^2",
    "sqft": "ft^2",
    "cc": "cm^3",
}
_TO_POWER = {"square": 2, "sq": 2, "cubic": 3}


def _table() -> dict[str, tuple[str, Fraction]]:
    table = {}
    for kind in _KINDS:
        for entry in kind.split(", "):
            *names, factor = entry.split()
            table.update({name: (kind.split()[0], Fraction(factor)) for name in names})
    return table


_UNITS = _table()
SYMBOLS = "$€£¥₹₽₩"
"""Currencies that may also stand before a number."""
_PART = re.compile(r"(?P<name>[^\W\d_]+|°[CF]?|[$€£¥₹₽₩])\s*(?:\^?\{?(?P<power>-?[1-4])\}?)?")

Unit = tuple[tuple[tuple[str, int], ...], Fraction]
"""The dimension as powers of kinds, and the factor to the kinds' first units."""


def read_unit(text: str) -> Unit | None:
    """The unit that `text` names, such as `cm`, `m^2`, `km/h`, `square meters` or
    `dollars per hour`; None if unknown."""
    powers: dict[str, int] = {}
    factor = Fraction(1)
    text = text.strip().rstrip(".")
    text = re.sub(
        r"\bdegrees? (celsius|fahrenheit)", r"\1", _SHORT.get(text, text), flags=re.IGNORECASE
    )
    sides = re.split(r"\s*(?:/|\bper\b)\s*", text)
    for number, side in enumerate(sides):
        parts = _product(side, 1 if number == 0 else -1)
        if parts is None:
            return None
        for kind, power, to_first in parts:
            powers[kind] = powers.get(kind, 0) + power
            factor *= to_first**power
    return tuple(sorted(powers.items())), factor


def _product(text: str, sign: int) -> list[tuple[str, int, Fraction]] | None:
    """Kind, power and factor of each part of a product of units, e.g. of `N m` or `square
    meters`."""
    parts, pending = [], 1
    for word in re.split(r"[\s·*]+", text.strip()):
        if word.lower() in _TO_POWER:
            pending = _TO_POWER[word.lower()]
            continue
        part = _PART.fullmatch(word)
        unit = _known(part["name"]) if part else None
        if part is None or unit is None:
            return None
        power = int(part["power"] or 1) * pending * sign
        parts.append((unit[0], power, unit[1]))
        pending = 1
    return parts if parts and pending == 1 else None


def _known(name: str) -> tuple[str, Fraction] | None:
    if name in _UNITS:
        return _UNITS[name]
    word = name.lower()
    for ending in ("", "s", "es"):
        stem = word.removesuffix(ending) if ending else word
        for spelt, ours in _ALIKE.items():
            stem = stem.replace(spelt, ours)
        # Symbols such as `M` and `m` differ by case; words do not.
        if len(stem) > 2 and stem in _UNITS:
            return _UNITS[stem]
    return None
