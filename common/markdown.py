"""Text from outside in a Markdown page: it is shown as text, whatever Markdown, HTML or control
characters are in it."""

import re
from collections.abc import Sequence

from common.visible import visible_line

LONGEST_NAME = 200
"""Characters of a name that are shown."""
_PLAIN = re.compile(r"[^\s`|<>&\\]+( [^\s`|<>&\\]+)*")
"""What may stand between two backticks: it ends neither them, nor the cell of a table."""


def code(text: str) -> str:
    """`text` as code on one line, also in a table.

    Punctuation becomes character references, which Markdown reads as text only and never as
    structure: a backtick or a bar ends neither the code nor the cell."""
    shown = visible_line(text, LONGEST_NAME)
    if _PLAIN.fullmatch(shown):
        return f"`{shown}`"
    return f"<code>{''.join(map(_referenced, shown))}</code>"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is the header; its cells are Markdown already."""
    header, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([header, f"|{' --- |' * len(rows[0])}", *body])


def _referenced(one: str) -> str:
    return one if one.isalnum() or one == " " or not one.isascii() else f"&#{ord(one)};"
