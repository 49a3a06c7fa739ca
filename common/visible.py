"""Text of prompts, models and files as a terminal may show it: nothing in it steers the terminal,
changes the direction of text or hides.

Such characters are shown as Python writes them, `\\x1b` or `\\u202e`; all others stay as they are.
The result is for people, not to be read back: a text may contain `\\x1b` in letters too."""

import re

LONGEST = 20_000
"""Characters of a text that are shown."""
_HIDDEN = (
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters without a shape of their own: zero-width, direction, fillers, tags, and all that
Unicode calls default ignorable but the two selectors of emoji. Line and paragraph separators."""
_NUMBER_SIGNS = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2"
"""Format characters of Arabic and Syriac that reach over the digits after them."""
_SURROGATES = "\ud800-\udfff"
_STEERING = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}{_NUMBER_SIGNS}{_SURROGATES}]")
_BREAKS = re.compile(r"[\t\n]")


def visible(text: str, longest: int | None = LONGEST) -> str:
    """`text` with its lines and tabs, and everything else that would steer a terminal as an
    escape. Of a longer text the first `longest` characters, and how many are left out."""
    left_out = 0 if longest is None else max(0, len(text) - longest)
    shown = _STEERING.sub(_escape, text[: len(text) - left_out])
    return f"{shown} ... ({left_out:,} more characters)" if left_out else shown


def visible_line(text: str, longest: int | None = LONGEST) -> str:
    """`visible` on one line: line feeds and tabs are shown as escapes too."""
    return _BREAKS.sub(_escape, visible(text, longest))


def visible_json(document: str) -> str:
    """A JSON document in which such characters are escapes of JSON. Its content is the same."""
    return _STEERING.sub(_json_escape, document)


def steers(text: str) -> bool:
    """Whether anything in the text would be shown as an escape."""
    return _STEERING.search(text) is not None


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
