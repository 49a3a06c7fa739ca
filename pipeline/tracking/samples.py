"""Tables of samples: answers of an evaluation, and the last rollouts of RL.

What a model wrote is hostile. Texts are cut, and control characters and overrides of the direction
of text are shown as escapes; a tracker that renders Markdown or HTML escapes that itself."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.artifacts import ANSWERS, GROUPS
from pipeline.tracking.interface import Row, Table

LIMIT = 100
"""Rows of a table."""
LENGTH = 500
"""Characters of a text."""
TAIL = 1 << 22
"""Bytes at the end of the groups that are read: the last steps of a long RL."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(value: Any) -> Any:
    """A text that steers no terminal and no browser's direction of text; others as they are."""
    if not isinstance(value, str):
        return value
    text = value if len(value) <= LENGTH else f"{value[:LENGTH]} [...]"
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def tables_of(folder: Path) -> Iterator[Table]:
    """The tables of a finished stage."""
    if ANSWERS.path(folder).exists():
        columns = ("suite", "id", "capability", "answer", "reference", "correct")
        rows = _spread(ANSWERS.read(folder), LIMIT)
        yield _table("samples/answers", columns, rows)
    if GROUPS.path(folder).exists():
        columns = ("step", "prompt_id", "capability", "text", "reward", "fault")
        yield _table("samples/rollouts", columns, _rollouts(folder)[-LIMIT:])


def _table(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Table:
    cells: list[Row] = [[plain(row.get(column)) for column in columns] for row in rows]
    return Table(name, columns, cells)


def _spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """At most `count` of the rows, evenly spaced, so that every suite is among them."""
    step = max(1.0, len(rows) / count)
    return [rows[int(number * step)] for number in range(min(count, len(rows)))]


def _rollouts(folder: Path) -> list[dict[str, Any]]:
    """The rollouts of the last groups, one each."""
    path = GROUPS.path(folder)
    with path.open("rb") as handle:
        if (begin := path.stat().st_size - TAIL) > 0:
            handle.seek(begin)
            handle.readline()  # the rest of a line
        groups = [json.loads(line) for line in handle]
    return [{**group, **member} for group in groups for member in group["members"]]
