"""Rows that cannot be used: what is wrong with one, and what happens then."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from common.errors import BadInput

SHOWN = 5
"""Reasons that a sentence names."""


class BadRow(BadInput):
    """A row that cannot be used."""

    def __init__(
        self,
        where: str,
        problem: str,
        remedy: str,
        *,
        field: str = "",
        detail: str = "",
        reason: str = "",
        row: Any = None,
    ) -> None:
        problem = f"{field}: {problem}" if field else problem
        super().__init__(f"{where}: {problem}{detail}", remedy)
        self.reason = reason or problem
        """What is wrong, without the place and the value: rows are counted by it."""
        self.row = row
        """What is there instead of a row: the text of a line, the cells of a table."""


class Skips(Protocol):
    """The setting of a source that decides."""

    @property
    def on_bad_row(self) -> str: ...

    @property
    def name(self) -> str: ...


class BadRows:
    """Stops at a bad row, or counts it and keeps it, as its source says."""

    def __init__(self, keep: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._keep = keep
        """Gets the row as an object of a JSON line."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """Number of skipped rows by source and reason."""
        self.first: dict[str, str] = {}
        """The message of the first skipped row, by source."""

    def meet(self, source: Skips, place: str, row: Any, error: BadInput, reason: str = "") -> None:
        """Raise `error`, or count and keep the row, if the source skips bad rows. `reason` is what
        rows are counted by; of a BadRow it is known."""
        if source.on_bad_row == "stop":
            skip = "or set `on_bad_row: skip` in the source to leave out such rows"
            raise BadInput(error.message, f"{error.remedy}; {skip}") from error
        reason = reason or (error.reason if isinstance(error, BadRow) else error.message)
        self.counts[source.name, reason] += 1
        self.first.setdefault(source.name, error.message)
        if self._keep is not None:
            told = {"place": place, "source": source.name, "reason": reason}
            self._keep({**told, "message": error.message, "row": _plain(row)})

    def skipped(self, source: Skips) -> int:
        """Number of rows of a source that were skipped."""
        return sum(count for (name, _), count in self.counts.items() if name == source.name)

    def notes(self) -> list[str]:
        """One sentence per source that has bad rows."""
        by_source: dict[str, list[str]] = {}
        for (name, reason), count in self.counts.most_common():
            by_source.setdefault(name, []).append(f"{reason} ({count})")
        return [
            f"{name}: bad rows are left out: {'; '.join(reasons[:SHOWN])}"
            f"{'; ...' if len(reasons) > SHOWN else ''}: bad_rows.jsonl"
            for name, reasons in by_source.items()
        ]

    def metrics(self) -> dict[str, object]:
        """Number of bad rows, also by reason."""
        by_reason: Counter[str] = Counter()
        for (_, reason), count in self.counts.items():
            by_reason[reason] += count
        return {"bad_rows": by_reason.total(), "bad_rows_by_reason": dict(by_reason)}


def require_storable(where: str, values: Any) -> None:
    """Raise BadRow unless `values` can be written as JSON in UTF-8."""
    try:
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError) as error:
        remedy = "use plain JSON values and valid Unicode"
        raise BadRow(where, "cannot be stored", remedy, detail=f": {error}") from error


def _plain(row: Any) -> Any:
    """The row as JSON can hold it: other values, and text that is no Unicode, as escaped text."""
    try:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        if isinstance(row, dict):
            return {_plain(str(name)): _plain(value) for name, value in row.items()}
        if isinstance(row, list):
            return [_plain(value) for value in row]
        return str(row).encode("utf-8", "backslashreplace").decode()
    return row
