"""Makes what a text hides visible: control characters, terminal escapes, marks that change the
direction of writing. `U+202E` becomes `‹U+202E›`; the page shows nothing else of them."""

import json
import unicodedata
from functools import lru_cache
from typing import Any

_PLAIN = "\n\t\u200c\u200d"
"""Line breaks and tabs; and the two joiners, without which Persian, Indic scripts and emoji are
spelt wrongly."""
_HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Unicode's categories of controls, formats, surrogates, private use, what is no character, and
separators of lines."""
MARKS = 8
"""Accents on one letter at most. More than any language has would cover the lines around it."""


@lru_cache(maxsize=4096)
def _shown(letter: str) -> tuple[str, bool]:
    """What is shown of a letter, and whether it is an accent on the one before it."""
    category = unicodedata.category(letter)
    hidden = letter not in _PLAIN and category in _HIDDEN
    return (f"‹U+{ord(letter):04X}›" if hidden else letter), category in ("Mn", "Me")


def visible(text: str) -> str:
    """The text with everything hidden written out, and no more than MARKS accents on a letter."""
    if text.isascii() and text.isprintable():
        return text
    parts, marks = [], 0
    for letter in text:
        shown, is_mark = _shown(letter)
        marks = marks + 1 if is_mark else 0
        if marks <= MARKS:
            parts.append(shown)
        elif marks == MARKS + 1:
            parts.append("‹more accents›")
    return "".join(parts)


def all_visible(value: Any) -> Any:
    """A JSON value with all of its texts made visible, names included."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): all_visible(own) for name, own in value.items()}
    return [all_visible(own) for own in value] if isinstance(value, list | tuple) else value


_ESCAPED = str.maketrans({letter: f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"})


def script_json(value: Any) -> str:
    """JSON that stays data inside a `<script>` element, whatever the texts say."""
    plain = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return plain.translate(_ESCAPED)


def storable(value: Any) -> Any:
    """A JSON value that can be written as UTF-8: halves of a surrogate pair become `\\ufffd`."""
    if isinstance(value, str):
        return (
            value
            if value.isascii()
            else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        )
    if isinstance(value, dict):
        return {storable(name): storable(own) for name, own in value.items()}
    return [storable(own) for own in value] if isinstance(value, list | tuple) else value
