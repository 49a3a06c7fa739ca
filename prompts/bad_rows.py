"""Rows that cannot be used: what is wrong with one, and what happens then."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from common.errors import BadInput


class BadRow(BadInput):
    """A row that cannot be used."""

    def __init__(
        self, where: str, reason: str, remedy: str, *, field: str = "", detail: str = ""
    ) -> None:
        reason = f"{field}: {reason}" if field else reason
        super().__init__(f"{where}: {reason}{detail}", remedy)
        self.reason = reason
        """What is wrong, without the place and the value: rows are counted by it."""


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

    def meet(self, source: Skips, place: str, row: Any, error: BadInput) -> None:
        """Raise `error`, or count and keep the row, if the source skips bad rows."""
        if source.on_bad_row == "stop":
            skip = "or set `on_bad_row: skip` in the source to leave out such rows"
            raise BadInput(error.message, f"{error.remedy}; {skip}") from error
        reason = error.reason if isinstance(error, BadRow) else error.message
        self.counts[source.name, reason] += 1
        if self._keep is not None:
            told = {"place": place, "source": source.name, "reason": reason}
            self._keep({**told, "message": error.message, "row": _plain(row)})

    def skipped(self, source: Skips) -> int:
        """Number of rows of a source that were skipped."""
        return sum(count for (name, _), count in self.counts.items() if name == source.name)


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
