"""Reads JSON lines that another process writes, without reading what is known already.

A line that is not complete, or no JSON, is skipped. A file that became shorter, or another file of
the same name, is read from its beginning: a resumed stage cuts its logs back."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class Tail:
    """Some fields of every line of a growing file."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, tuple(names)
        self.rows: list[dict[str, Any]] = []
        self._file: tuple[int, int] | None = None
        self._read = 0

    def update(self) -> list[dict[str, Any]]:
        """All rows that are there now; none without a file."""
        try:
            with self.path.open("rb") as handle:
                self._go_on(handle.fileno())
                handle.seek(self._read)
                data = handle.read()
        except OSError:
            self.rows, self._file, self._read = [], None, 0
            return self.rows
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        self.rows += [{k: row[k] for k in self.names if k in row} for row in rows_in(whole)]
        return self.rows

    def _go_on(self, handle: int) -> None:
        """Begin again where the file is not the one that was read, or has less in it."""
        found = os.fstat(handle)
        file = (found.st_dev, found.st_ino)
        if file != self._file or found.st_size < self._read:
            self.rows, self._file, self._read = [], file, 0


def last_rows(path: Path, most: int) -> list[dict[str, Any]]:
    """The complete lines at the end of a file that begin in its last `most` bytes."""
    try:
        with path.open("rb") as handle:
            start = max(0, os.fstat(handle.fileno()).st_size - most)
            handle.seek(max(0, start - 1))
            data = handle.read()
    except OSError:
        return []
    if start:  # what is before the first line feed began earlier
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    return list(rows_in(data[: data.rfind(b"\n") + 1]))


def rows_in(data: bytes) -> Iterator[dict[str, Any]]:
    """The objects in some lines."""
    for line in data.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            yield row
